package config

import (
	"errors"
	"strconv"

	"github.com/spf13/pflag"
)

// wants says how the values of a type of flag look, where the type's own error
// speaks of a parser.
var wants = map[string]string{
	"duration": "want a time such as 30s or 2m",
	"bool":     "want true or false",
	"int":      "want a whole number",
	"uint":     "want a whole number, 0 or more",
	"uint64":   "want a whole number, 0 or more",
	"float32":  "want a number such as 0.5",
}

// Explain turns the error of a flag's Set into one that says what is wanted. It
// does not name the value.
func Explain(f *pflag.Flag, err error) error {
	want, ok := wants[f.Value.Type()]
	switch {
	case !ok:
		return err
	case errors.Is(err, strconv.ErrRange):
		return errors.New("too large")
	}
	return errors.New(want)
}
