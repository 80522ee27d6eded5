package catalog

import (
	"slices"
	"strings"

	"github.com/farlabs/inference"
)

// maxNear bounds the suggestions in an error.
const maxNear = 3

func ids() []inference.ModelID {
	out := make([]inference.ModelID, len(entries))
	for i, e := range entries {
		out[i] = e.ID
	}
	return out
}

// nearest returns the ids that spec may have meant, best first: those that
// contain it or are contained in it, and those within a third of its length in
// edits.
func nearest(spec string) []inference.ModelID {
	type match struct {
		id   inference.ModelID
		cost int
	}
	spec = strings.ToLower(spec[:min(len(spec), 128)])
	var found []match
	for _, id := range ids() {
		name, _ := id.Split()
		for _, s := range []string{string(id), name} {
			cost := edits(spec, s)
			if len(spec) >= 3 && (strings.Contains(s, spec) || strings.Contains(spec, s)) {
				cost = min(cost, 1)
			}
			if cost <= max(2, len(spec)/3) {
				found = append(found, match{id, cost})
				break
			}
		}
	}
	slices.SortStableFunc(found, func(a, b match) int { return a.cost - b.cost })
	var out []inference.ModelID
	for _, m := range found[:min(len(found), maxNear)] {
		out = append(out, m.id)
	}
	return out
}

// edits is the Levenshtein distance of a and b, bytes.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
