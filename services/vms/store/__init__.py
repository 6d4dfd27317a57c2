"""All SQL of the video management service: cameras, facts coming in, history going out, retention."""
