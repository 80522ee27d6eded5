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
// contain it or are contained in it, those within a third of its length in
// edits, and those of which a part is within a fifth, as "smolm2" is.
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
			cost, part := edits(spec, s)
			if len(spec) >= 5 && part <= len(spec)/5 {
				cost = min(cost, 1+part)
			}
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

// edits returns the Levenshtein distance, in bytes, of a and b, and that of a
// and the part of b that is nearest to it.
func edits(a, b string) (whole, part int) {
	rows := [2][]int{make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[0] {
		rows[0][j] = j // the second row's zeros let a begin anywhere in b
	}
	for _, row := range rows {
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
	}
	return rows[0][len(b)], slices.Min(rows[1])
}
