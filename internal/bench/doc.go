// Command bench measures us beside llama.cpp: the same files, the same machine,
// the same number of threads, by turns, and says what of the promises holds.
//
//	go run ./internal/bench                      every row; exit status 1 on a miss
//	go run ./internal/bench -rows decode,http    some
//	go run ./internal/bench -quick               two rounds
//
// Ours runs through what users run: a span and the ends of a model in a process
// of its own, or start_node, a gateway and the client. Theirs are the programs
// that scripts/llamacpp.sh builds, with the best of their settings for each
// figure, found in a round of its own. A ratio is the median over the rounds of
// ours ÷ theirs within a round; what the memory and the processor could do at
// most is measured in the same rounds.
//
// Everything about package model stands in engine.go, everything about their
// programs in peer.go. The command owns the processes that it starts.
package main
