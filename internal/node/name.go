package node

import (
	"hash/fnv"

	"github.com/farlabs/inference"
)

// The words that names are made of.
var (
	adjectives = []string{
		"amber", "brave", "bright", "calm", "clever", "coral", "crisp", "deft", "eager", "fair", "fleet", "gentle",
		"glad", "golden", "hardy", "jolly", "keen", "kind", "lively", "lucid", "mellow", "merry", "nimble", "noble",
		"patient", "plucky", "proud", "quick", "quiet", "ready", "silver", "sunny", "swift", "tidy", "vivid", "wise",
	}
	animals = []string{
		"badger", "bison", "crane", "curlew", "dolphin", "falcon", "ferret", "finch", "fox", "gecko", "hare", "heron",
		"ibex", "jackdaw", "kestrel", "lark", "lynx", "marten", "mole", "newt", "orca", "osprey", "otter", "owl",
		"panda", "plover", "puffin", "raven", "robin", "seal", "stoat", "swan", "tern", "toad", "vole", "wren",
	}
)

// nameOf makes a name for a node from its key: the same at every start.
func nameOf(peer inference.PeerID) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(peer))
	n := h.Sum64()
	return adjectives[n%uint64(len(adjectives))] + "-" + animals[n/uint64(len(adjectives))%uint64(len(animals))]
}
