"""Looking into answers: replay, comparison, the story of one query, labelling."""
