"""A miner reduced to its servers, to be killed: `owner_script.py FOLDER PLAN {NAME: SETTINGS}`.

PLAN is `stand-in` or `vllm`; prints one JSON line whenever a server's state changes.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from natix_miner.serving.servers import Servers
from natix_miner.serving.settings import ServerSettings, ServingSettings
from tests.serving.launching import plan_stand_in, plan_vllm


async def main(folder: Path, plan: str, sections: dict[str, dict]) -> None:
    servers = Servers(
        {name: ServerSettings(**section) for name, section in sections.items()},
        ServingSettings(folder=folder),
        prepare={"stand-in": plan_stand_in, "vllm": plan_vllm}[plan],
    )
    await servers.start()
    told = None
    while True:
        now = {
            name: {"state": status.state, "reason": status.reason, "pid": status.pid}
            for name, status in servers.status().items()
        }
        if now != told:
            print(json.dumps(now), flush=True)
            told = now
        await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])))
