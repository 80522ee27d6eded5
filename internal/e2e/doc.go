// Package e2e tests the product as its users have it: the real binaries as
// processes of their own on loopback, the real model, real files and signals.
//
// It holds tests and the harness they stand on. Start runs a
// node, Serve a gateway, Run a command that ends; Dial makes a client inside
// the test's process, which can see each delta, progress message and route.
// Every process belongs to a test, or to the run for the shared cluster, and
// is gone when that ends. FARLABS_BIN names a folder of binaries to test
// instead of building them, FARLABS_FULL=1 runs the long variants, -short none.
//
// The package knows what the binaries print and what package pipeline exports,
// nothing of how they do it.
package e2e
