package main

import (
	"strings"
	"testing"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/pipeline"
)

func TestTheNetworkIsCountedInWords(t *testing.T) {
	show := func(models int, nodes int) string {
		var out strings.Builder
		var info pipeline.NetworkInfo
		for range models {
			info.Models = append(info.Models, pipeline.ModelInfo{Model: "m", Blocks: 3, Coverage: []int{1, 0, 12}, Missing: []string{"1:2"}, Nodes: nodes})
		}
		for range nodes {
			info.Nodes = append(info.Nodes, pipeline.NodeInfo{Name: "brave-otter", Model: "m", Blocks: "0:1", State: inference.StateServing, Queue: -1})
		}
		printNetwork(&out, info)
		return out.String()
	}
	if s := show(1, 1); !strings.Contains(s, "m  3 blocks, 1 node, missing blocks 1:2  ") || !strings.Contains(s, "\n1·+\n") {
		t.Error(s)
	}
	if s := show(1, 2); !strings.Contains(s, "3 blocks, 2 nodes, ") {
		t.Error(s)
	}
	if s := show(0, 0); s != "The network is there, but no node serves a model.\n" {
		t.Error(s)
	}
}
