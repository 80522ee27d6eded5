package main

import (
	"testing"

	"github.com/farlabs/inference/internal/cli/clitest"
)

func TestMain(m *testing.M) { clitest.Main(m, "farclient", root) }

// TestScripts runs what a person types, in testdata/*.txtar.
func TestScripts(t *testing.T) { clitest.Run(t, "testdata") }
