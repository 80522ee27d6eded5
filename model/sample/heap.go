package sample

// lower reports that a is less likely than b: by logit, of equals the higher id.
func lower(a, b candidate) bool {
	if a.logit != b.logit {
		return a.logit < b.logit
	}
	return a.id > b.id
}

// higher is the reverse of lower.
func higher(a, b candidate) bool { return lower(b, a) }

// heapify orders c so that no element is first(…) before its parent.
func heapify(c []candidate, first func(a, b candidate) bool) {
	for i := len(c)/2 - 1; i >= 0; i-- {
		siftDown(c, i, first)
	}
}

// siftDown moves element i down to its place.
func siftDown(c []candidate, i int, first func(a, b candidate) bool) {
	for {
		child := 2*i + 1
		if child >= len(c) {
			return
		}
		if child+1 < len(c) && first(c[child+1], c[child]) {
			child++
		}
		if !first(c[child], c[i]) {
			return
		}
		c[i], c[child] = c[child], c[i]
		i = child
	}
}
