"""The real server as a process, the real SDKs, and a scripted provider, over sockets."""
