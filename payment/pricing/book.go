package pricing

import "fmt"

// Class is a price class: what models of one kind cost, USD per 1M tokens.
type Class struct {
	Name    string  `json:"name"`
	Below   float64 `json:"below"` // parameters in 10⁹ up to which it holds, exclusive; 0: any
	Low     float64 `json:"low"`
	High    float64 `json:"high"`
	Default float64 `json:"default"` // what a node asks that was told no price
}

// Book is a named list of classes, the smallest models first.
type Book struct {
	Name    string  `json:"name"`
	Sizes   []Class `json:"sizes"`
	Coding  *Class  `json:"coding,omitempty"` // of models made for code, whatever their size; nil: by size
	Summary string  `json:"summary"`
}

// The price books. Where the classes of Far leave a gap, or meet, a model
// belongs to the class above: 7.5B is 8b-70b, 70B too, more is 70b-180b.
// Models below 3B are priced as small ones. A default is the middle of its
// class on a scale of ratios, rounded.
var (
	Far = Book{
		Name:    "far",
		Summary: "default catalog",
		Sizes: []Class{
			{Name: "3b-7b", Below: 7.5, Low: 0.10, High: 0.50, Default: 0.20},
			{Name: "8b-70b", Below: 71, Low: 1.00, High: 3.00, Default: 1.75},
			{Name: "70b-180b", Low: 5.00, High: 15.00, Default: 8.50},
		},
		Coding: &Class{Name: "coding", Low: 2.00, High: 5.00, Default: 3.00},
	}
	Formation = Book{
		Name:    "formation",
		Summary: "formation-* models",
		Sizes: []Class{
			{Name: "below-32b", Below: 32, Low: 0.1, High: 0.1, Default: 0.1},
			{Name: "32b-110b", Below: 110, Low: 0.2, High: 0.2, Default: 0.2},
			{Name: "110b-500b", Below: 500, Low: 0.3, High: 0.3, Default: 0.3},
			{Name: "above-500b", Low: 0.4, High: 0.4, Default: 0.4},
		},
	}
)

// Books lists the price books, the default one first.
func Books() []Book { return []Book{Far, Formation} }

// Class returns the class of a model with params parameters, in 10⁹.
func (b Book) Class(params float64, coding bool) Class {
	if coding && b.Coding != nil {
		return *b.Coding
	}
	for _, c := range b.Sizes {
		if c.Below == 0 || params < c.Below {
			return c
		}
	}
	return b.Sizes[len(b.Sizes)-1]
}

// ClassNamed returns the class of that name.
func (b Book) ClassNamed(name string) (Class, error) {
	if b.Coding != nil && b.Coding.Name == name {
		return *b.Coding, nil
	}
	for _, c := range b.Sizes {
		if c.Name == name {
			return c, nil
		}
	}
	return Class{}, fmt.Errorf("%w: book %s has no class %q", ErrPrice, b.Name, name)
}
