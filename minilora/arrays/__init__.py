"""Where arrays live, and how they are computed: the backend, GPU kernels, chunks that fit the processor, threads."""
