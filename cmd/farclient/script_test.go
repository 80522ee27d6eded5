package main

import (
	"testing"

	"github.com/farlabs/inference/internal/cli/clitest"
)

func TestMain(m *testing.M) { clitest.Main(m, "farclient", root) }

// A variable that is a setting must not be taken for a mistyped one.
func TestVariablesOfTheFlagsAreKnown(t *testing.T) { clitest.Variables(t, root()) }

// TestScripts runs what a person types, in testdata/*.txtar.
func TestScripts(t *testing.T) { clitest.Run(t, "testdata") }
