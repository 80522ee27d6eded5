package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/internal/config"
	"github.com/farlabs/inference/model/catalog"
)

// flagError says what is wrong with a flag of c, and what was meant where that
// can be told.
func flagError(c *cobra.Command, err error) error {
	var value *pflag.InvalidValueError
	if errors.As(err, &value) {
		err = fmt.Errorf("--%s %q: %w", value.GetFlag().Name, value.GetValue(), config.Explain(value.GetFlag(), value.Unwrap()))
	}
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		err = fmt.Errorf("%w%s", err, meantFlag(c, unknown.GetSpecifiedName()))
	}
	return &UsageError{fmt.Errorf("%w\nTry \"%s --help\"", err, c.CommandPath())}
}

// meantFlag suggests a flag for one that c lacks: the same one of another
// command, else the nearest.
func meantFlag(c *cobra.Command, name string) string {
	switch owners := owners(c.Root(), name); {
	case len(owners) > 0 && c.HasSubCommands():
		return "; put it after the command: " + owners[0] + " " + dashes(name)
	case len(owners) > 0:
		return "; " + strings.Join(owners, ", ") + " would take it"
	case len(name) == 1:
		return ""
	}
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if best := config.Nearest(name, names); best != "" {
		return ", did you mean --" + best + "?"
	}
	return ""
}

func dashes(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// owners returns the commands from c down that have a flag.
func owners(c *cobra.Command, name string) (paths []string) {
	f := c.Flags().Lookup(name)
	if len(name) == 1 {
		f = c.Flags().ShorthandLookup(name)
	}
	if f != nil && !c.Hidden {
		paths = append(paths, c.CommandPath())
	}
	for _, sub := range c.Commands() {
		paths = append(paths, owners(sub, name)...)
	}
	return paths
}

// NoArgs refuses what stands alone on the line of a command that takes flags
// only, and says where it belongs.
func NoArgs(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	arg := args[0]
	try := fmt.Sprintf("\nTry %q", c.CommandPath()+" --help")
	if c.Flags().Lookup("model") != nil && (IsModel(arg) || !c.HasSubCommands()) {
		if IsModel(arg) {
			return Usagef("a model is named by a flag: --model %s", arg)
		}
		return Usagef("%q: %s takes flags only%s", arg, c.CommandPath(), try)
	}
	switch near := c.SuggestionsFor(arg); {
	case !c.HasSubCommands():
		return Usagef("%q: %s takes no arguments%s", arg, c.CommandPath(), try)
	case len(near) > 0:
		return Usagef("unknown command %q, did you mean %s?", arg, strings.Join(near, " or "))
	}
	for _, name := range []string{"run", "chat"} {
		sub := find(c, name)
		switch {
		case sub == nil:
		case name == "run" && strings.ContainsAny(strings.Join(args, " "), " ?"):
			return Usagef("unknown command %q; to ask it: %s %q", arg, sub.CommandPath(), strings.Join(args, " "))
		case name == "chat" && IsModel(arg):
			return Usagef("unknown command %q; to talk with this model: %s --model %s", arg, sub.CommandPath(), arg)
		}
	}
	if unknown := (*catalog.UnknownModelError)(nil); c.Flags().Lookup("model") != nil {
		if _, err := catalog.Resolve(arg, catalog.CacheDir()); errors.As(err, &unknown) && len(unknown.Near) > 0 {
			return Usagef("unknown command %q, did you mean --model %s?", arg, unknown.Near[0])
		}
	}
	return Usagef("unknown command %q%s", arg, try)
}

// IsModel reports whether a word is what --model takes: an id of the catalog or
// the name of a GGUF file.
func IsModel(word string) bool {
	_, known := catalog.Lookup(inference.ModelID(strings.ToLower(word)))
	return known || strings.HasSuffix(strings.ToLower(word), ".gguf") && !strings.ContainsAny(word, " \n")
}

func find(c *cobra.Command, name string) *cobra.Command {
	if i := slices.IndexFunc(c.Commands(), func(s *cobra.Command) bool { return s.Name() == name }); i >= 0 {
		return c.Commands()[i]
	}
	return nil
}
