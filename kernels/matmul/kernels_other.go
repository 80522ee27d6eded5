package matmul

func forms512() *[numActivations]form { return new([numActivations]form) }
