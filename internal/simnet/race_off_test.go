//go:build !race

package simnet_test

// raceEnabled would shorten the tests that repeat themselves over many shapes.
const raceEnabled = false
