//go:build race

package simnet_test

// raceEnabled shortens the tests that repeat themselves over many shapes.
const raceEnabled = true
