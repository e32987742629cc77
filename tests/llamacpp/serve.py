"""Runs llama.cpp's own HTTP server on a model until its input ends; prints the address. A script by itself.

`python serve.py FILE`, for a Python that has `xllamacpp`, which brings the server as a library.
"""

import sys

import xllamacpp


def main() -> None:
    """Serve on a free port of loopback, with one thread."""
    wanted = xllamacpp.CommonParams()
    wanted.model.path = sys.argv[1]
    wanted.port = 0
    wanted.n_ctx = 4096
    wanted.n_parallel = 1
    wanted.use_jinja = True
    wanted.warmup = False
    wanted.n_gpu_layers = 0
    wanted.cpuparams.n_threads = 1
    wanted.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(wanted)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
