// Package node is the server: everything a Far Labs Node consists of, wired.
//
// In: a [Config] (model, blocks, memory, addresses, price). Out: a process
// member of the network that serves blocks until its context ends, and
// [Event]s that tell what it does, for people or programs to read.
//
// node.go reads as the parts list. Beside it stand what belongs to nobody else:
// which blocks to host (placement.go), what this machine can do (measure.go),
// how much memory it may take (memory.go), and the metrics. Serving itself is
// in pipeline/stage, the network in farnet, the money in payment.
package node
