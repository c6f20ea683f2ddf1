"""Audio sources: microphone, files, standard input, remote senders."""
