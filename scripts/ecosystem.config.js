// The miner under pm2 (docs/pm2.md):   pm2 start scripts/ecosystem.config.js
//
// Settings of the miner stand in miner.env. The variables read here are pm2's side only:
//   MINER_MAX_MEMORY       resident memory of the miner's process at which pm2 restarts it: 800M, 4G
//   MINER_LISTEN_TIMEOUT   seconds that pm2 waits for the ready signal before it says online anyway
//   MINER_PM2_LOG_SIZE     size at which pm2's own log files are rotated: 10M
const fs = require("fs");
const os = require("os");
const path = require("path");

const root = path.resolve(__dirname, "..");

// What the miner gets of this shell's environment. pm2 would keep all of it, and `pm2 save` writes
// it to a file: keys of other things have no business there, and miner.env should have the say.
const PASSED_ON = [
  /^(PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_ALL|TZ|TMPDIR|LD_LIBRARY_PATH|MINER_ENV_FILE)$/,
  /^(HF_HOME|HF_HUB_CACHE|HF_HUB_OFFLINE|TRANSFORMERS_OFFLINE|READ_ONLY)$/,
  /^(SSL_CERT_FILE|SSL_CERT_DIR|HTTPS?_PROXY|NO_PROXY|https?_proxy|no_proxy)$/,
  /^(CUDA|NVIDIA|NCCL|OMP|MKL|XDG)_[A-Z_]+$/,
];

function passedOn() {
  const kept = Object.entries(process.env).filter(([name]) =>
    PASSED_ON.some((pattern) => pattern.test(name)),
  );
  return Object.fromEntries(kept);
}

// Half of the memory: far above what any profile needs, and below what makes the kernel kill.
function maxMemory() {
  const limit = process.constrainedMemory ? process.constrainedMemory() : 0;
  const total = limit > 0 ? Math.min(limit, os.totalmem()) : os.totalmem();
  return process.env.MINER_MAX_MEMORY || `${Math.floor(total / 2 / 2 ** 20)}M`;
}

function seconds(name, otherwise) {
  const value = Number(process.env[name] || otherwise);
  if (!(value > 0)) throw new Error(`${name} is ${process.env[name]}, no number of seconds`);
  return value * 1000;
}

const miner = {
  name: "natix_miner",
  script: path.join(__dirname, "start_miner.sh"),
  cwd: root,
  interpreter: "none",
  exec_mode: "fork", // one axon port: there is never a second miner beside the first
  instances: 1,
  filter_env: [""], // drops every name that contains this, which is all of them
  env: passedOn(),

  // Ready is what the miner says once it has answered itself a question over the axon.
  wait_ready: true,
  listen_timeout: seconds("MINER_LISTEN_TIMEOUT", 600),

  // SIGINT to the miner alone; it drains and ends its servers itself. Longer than every profile's
  // drain_seconds and stop_seconds take together; then SIGKILL.
  treekill: false,
  kill_timeout: 40000,

  // 0.2 s after the first end, half as much again after each further one, 15 s at most; from the
  // beginning again after 30 s of life.
  autorestart: true,
  exp_backoff_restart_delay: 200,
  // What start_miner.sh refuses, a restart does not mend. Everything else may pass: a port still
  // taken, GPU memory not yet given back, a hub that is down.
  stop_exit_codes: [78],
  max_memory_restart: maxMemory(),
  watch: false,
  vizion: false,

  // Time stands in the miner's own lines.
  merge_logs: true,
};

// pm2 never rotates its own log files; this does, for all of them. Not beside a second one that the
// operator has installed as a module.
const rotator = path.join(root, ".pm2", "node_modules", "pm2-logrotate", "app.js");
const home = process.env.PM2_HOME || path.join(os.homedir(), ".pm2");
const installed = fs.existsSync(path.join(home, "modules", "pm2-logrotate"));
const logs = {
  name: "natix_miner_logs",
  script: rotator,
  cwd: path.dirname(rotator),
  exec_mode: "fork",
  filter_env: [""],
  env: {
    ...passedOn(),
    PM2_HOME: home,
    "pm2-logrotate": JSON.stringify({
      max_size: process.env.MINER_PM2_LOG_SIZE || "10M",
      retain: "10",
      workerInterval: process.env.MINER_PM2_LOG_INTERVAL || "30",
      rotateInterval: "0 0 1 1 *", // by size only, and once a year
    }),
  },
  autorestart: true,
  exp_backoff_restart_delay: 1000,
  max_memory_restart: "300M",
  vizion: false,
  merge_logs: true,
};

module.exports = { apps: fs.existsSync(rotator) && !installed ? [miner, logs] : [miner] };
