package sample

import "cmp"

// compare orders candidates by logit, of equals the lower id is the higher
// candidate.
func (a candidate) compare(b candidate) int {
	return cmp.Or(cmp.Compare(a.logit, b.logit), cmp.Compare(b.id, a.id))
}

// lower reports that a comes after b: a lower logit, of equals the higher id.
func lower(a, b candidate) bool {
	if a.logit != b.logit {
		return a.logit < b.logit
	}
	return a.id > b.id
}

// heapify makes c a heap with its lowest candidate at the root.
func heapify(c []candidate) {
	for i := len(c)/2 - 1; i >= 0; i-- {
		siftDown(c, i)
	}
}

// siftDown moves element i down to its place.
func siftDown(c []candidate, i int) {
	for {
		child := 2*i + 1
		if child >= len(c) {
			return
		}
		if child+1 < len(c) && lower(c[child+1], c[child]) {
			child++
		}
		if !lower(c[child], c[i]) {
			return
		}
		c[i], c[child] = c[child], c[i]
		i = child
	}
}
