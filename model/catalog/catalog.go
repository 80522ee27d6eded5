// Package catalog is the list of models that the network knows by name, and
// the rule that turns what a user types after --model into a file.
//
// [Entries] returns the list as data: what a model is, what it may be used for,
// where its file comes from and the digest that the file's manifest must have.
// [Resolve] turns a catalog id, with or without its variant, or the path of a
// GGUF file into a [Source]; node and client both call it, so that a name means
// the same on either side. What it cannot resolve is a typed error that says
// what to do next.
//
// The package looks at paths but opens no file, fetches nothing, and knows
// nothing of tensors, prices in money or the network.
package catalog

import (
	"slices"

	"github.com/farlabs/inference"
)

// PriceClass is the group of models that share a range of prices.
type PriceClass string

// The price classes of the default book. A model below 3B parameters is priced
// in the smallest.
const (
	Price3B7B    PriceClass = "3b-7b"
	Price8B70B   PriceClass = "8b-70b"
	Price70B180B PriceClass = "70b-180b"
	PriceCoding  PriceClass = "coding"
)

// Entry is one model in one quantisation.
type Entry struct {
	ID           inference.ModelID `json:"id"` // with variant
	Family       string            `json:"family"`
	Parameters   int64             `json:"parameters"`
	Layers       int               `json:"layers"`
	Context      int               `json:"context"` // positions
	Categories   []string          `json:"categories"`
	Uses         []string          `json:"uses"` // what it is good for
	Licence      string            `json:"licence"`
	Quantisation string            `json:"quantisation"`
	PriceClass   PriceClass        `json:"price_class"`
	Source       string            `json:"source"` // who publishes the weights
	File         string            `json:"file"`   // name in the cache's models folder
	Bytes        int64             `json:"bytes"`  // of the file
	SHA256       inference.Digest  `json:"sha256"` // of the file
	Digest       inference.Digest  `json:"digest"` // of the manifest
	Fetch        string            `json:"fetch"`  // command that puts File into the cache
}

// Entries returns the catalog, ascending by id. The caller may change it.
func Entries() []Entry {
	out := slices.Clone(entries)
	for i := range out {
		out[i].Categories = slices.Clone(out[i].Categories)
		out[i].Uses = slices.Clone(out[i].Uses)
	}
	return out
}

// Lookup returns the entry for an id; without a variant it is the first of
// that id.
func Lookup(id inference.ModelID) (e Entry, ok bool) {
	name, variant := id.Split()
	for _, e := range Entries() {
		n, v := e.ID.Split()
		if n == name && (variant == "" || v == variant) {
			return e, true
		}
	}
	return Entry{}, false
}
