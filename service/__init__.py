"""The service around the library: HTTP, storage, command line."""
