package model

import (
	"reflect"
	"testing"

	inference "github.com/farlabs/inference"
	"github.com/farlabs/inference/model/arch"
)

// TestEveryUsedSpecFieldMatters sets each field of the Spec to absent, in turn:
// the model must refuse to load or to run, or miss its golden. A field that no
// longer does so is one that nobody reads.
func TestEveryUsedSpecFieldMatters(t *testing.T) {
	g := readRandomGolden(t)
	missed := map[string]int{} // field -> models in which zeroing it went unnoticed
	used := map[string]int{}
	for _, m := range g.models() {
		c := m.model.Open(t)
		spec, err := ReadSpec(c)
		if err != nil {
			t.Fatal(err)
		}
		fields(reflect.ValueOf(spec).Elem(), "", func(name string, v reflect.Value) {
			if v.IsZero() {
				return // this model does not use it
			}
			used[name]++
			was := reflect.New(v.Type()).Elem()
			was.Set(v)
			v.SetZero()
			changed := *spec // what was loaded keeps the Spec
			v.Set(was)
			all := blocks(0, m.model.Layers)
			w, err := newChain(t, c, &changed, inference.WireF32, exact, cut{all, all})
			if err != nil {
				return
			}
			lps, last, err := w.logProbs(w.sequence(), g.IDs, len(g.IDs))
			if err == nil && m.want.distance(lps, last) <= tolerance {
				missed[name]++
			}
		})
	}
	for name, n := range missed {
		t.Errorf("Spec.%s: absent, yet %d of %d models that use it match their golden", name, n, used[name])
	}
	fields(reflect.ValueOf(&arch.Spec{}).Elem(), "", func(name string, _ reflect.Value) {
		if used[name] == 0 {
			t.Errorf("Spec.%s: used by no model with a golden", name)
		}
	})
}

// fields calls f for every field of a struct, those of structs within it by
// their path.
func fields(v reflect.Value, prefix string, f func(name string, v reflect.Value)) {
	for i := range v.NumField() {
		name := prefix + v.Type().Field(i).Name
		if v.Field(i).Kind() == reflect.Struct {
			fields(v.Field(i), name+".", f)
		} else {
			f(name, v.Field(i))
		}
	}
}
