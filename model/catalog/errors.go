package catalog

import (
	"fmt"
	"strings"

	"github.com/farlabs/inference"
)

// UnknownModelError reports an id that the catalog lacks.
type UnknownModelError struct {
	Spec string
	Near []inference.ModelID // the nearest ids, best first; may be empty
	All  []inference.ModelID // the whole catalog
}

// Error implements error.
func (e *UnknownModelError) Error() string {
	if len(e.Near) > 0 {
		return fmt.Sprintf("model %q is not in the catalog; did you mean %s? A path to a .gguf file works too", e.Spec, list(e.Near, " or "))
	}
	return fmt.Sprintf("model %q is not in the catalog, which holds %s; a path to a .gguf file works too", e.Spec, list(e.All, ", "))
}

func list(ids []inference.ModelID, sep string) string {
	s := make([]string, len(ids))
	for i, id := range ids {
		s[i] = string(id)
	}
	return strings.Join(s, sep)
}

// UnsupportedSourceError reports a kind of source that cannot be read.
type UnsupportedSourceError struct {
	Spec string
	Kind string // "a checkpoint folder"
	Want string // the file that is wanted, and how to get it
}

// Error implements error.
func (e *UnsupportedSourceError) Error() string {
	return fmt.Sprintf("model %q is %s, which is not supported: %s", e.Spec, e.Kind, e.Want)
}

// MissingFileError reports a model whose file is not where it should be.
type MissingFileError struct {
	Spec   string
	Path   string
	Reason string // "not found"; or what is there instead
	Next   string // what to do
}

// Error implements error.
func (e *MissingFileError) Error() string {
	return fmt.Sprintf("model %q: %s: %s; %s", e.Spec, e.Path, e.Reason, e.Next)
}

// AlteredFileError reports a file that is not the model its name says.
type AlteredFileError struct {
	ID        inference.ModelID
	Path      string
	Want, Got inference.Digest
	Next      string
}

// Error implements error.
func (e *AlteredFileError) Error() string {
	return fmt.Sprintf("%s is not %s: its digest is %s, the catalog's is %s; %s", e.Path, e.ID, e.Got, e.Want, e.Next)
}
