package catalog_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/model/catalog"
	"github.com/farlabs/inference/model/weights"
)

const smol = "smollm2-135m-instruct"

func TestEntriesAreCompleteAndAscend(t *testing.T) {
	all := catalog.Entries()
	if !slices.IsSortedFunc(all, func(a, b catalog.Entry) int { return strings.Compare(string(a.ID), string(b.ID)) }) {
		t.Error("not ascending by id")
	}
	for _, e := range all {
		name, variant := e.ID.Split()
		if e.ID.Validate() != nil || name == "" || variant == "" {
			t.Errorf("%s: not an id with a variant", e.ID)
		}
		if e.Family == "" || e.Parameters <= 0 || e.Layers <= 0 || e.Context <= 0 || len(e.Categories) == 0 ||
			len(e.Uses) == 0 || e.Licence == "" || e.Quantisation == "" || e.PriceClass == "" || e.Source == "" ||
			e.File == "" || e.Bytes <= 0 || e.Fetch == "" || e.SHA256 == (inference.Digest{}) || e.Digest == (inference.Digest{}) {
			t.Errorf("%s: a field is empty: %+v", e.ID, e)
		}
		for _, id := range []inference.ModelID{e.ID, inference.ModelID(name)} {
			if got, ok := catalog.Lookup(id); !ok || got.ID != e.ID {
				t.Errorf("Lookup(%s) = %s, %v", id, got.ID, ok)
			}
		}
	}
}

func TestEntriesCannotBeChangedByCallers(t *testing.T) {
	catalog.Entries()[0].Uses[0] = "mischief"
	if catalog.Entries()[0].Uses[0] == "mischief" {
		t.Error("the catalog was changed")
	}
}

// placeSmol makes a cache whose model file has the right length and no contents.
func placeSmol(t *testing.T, size int64) (cache, path string) {
	t.Helper()
	e, _ := catalog.Lookup(smol)
	cache = t.TempDir()
	path = filepath.Join(cache, "models", e.File)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	return cache, path
}

func TestResolveFindsIDsWithAndWithoutVariant(t *testing.T) {
	e, _ := catalog.Lookup(smol)
	cache, path := placeSmol(t, e.Bytes)
	for _, spec := range []string{smol, smol + ":q4_1", "SmolLM2-135M-Instruct", "SmolLM2-135M-Instruct:Q4_1"} {
		s, err := catalog.Resolve(spec, cache)
		if err != nil || s.ID != smol+":q4_1" || s.Path != path || s.Digest != e.Digest {
			t.Errorf("Resolve(%q) = %+v, %v", spec, s, err)
		}
	}
}

func TestMissingFileNamesPathAndNextStep(t *testing.T) {
	cache := t.TempDir()
	_, err := catalog.Resolve(smol, cache)
	var missing *catalog.MissingFileError
	if !errors.As(err, &missing) || !strings.HasPrefix(missing.Path, cache) || !strings.Contains(err.Error(), "make model") || !strings.Contains(err.Error(), missing.Path) {
		t.Errorf("absent: %v", err)
	}
	cut, _ := placeSmol(t, 12)
	if _, err := catalog.Resolve(smol, cut); !errors.As(err, &missing) || !strings.Contains(err.Error(), "12 bytes") || !strings.Contains(err.Error(), "make model") {
		t.Errorf("cut short: %v", err)
	}
	if _, err := catalog.Resolve("no/such/file.gguf", cache); !errors.As(err, &missing) || missing.Path != "no/such/file.gguf" {
		t.Errorf("absent path: %v", err)
	}
	if _, err := catalog.Resolve("no/such/folder", cache); !errors.As(err, &missing) {
		t.Errorf("absent folder: %v", err)
	}
}

func TestAlteredFileNamesBothDigests(t *testing.T) {
	e, _ := catalog.Lookup(smol)
	cache, path := placeSmol(t, e.Bytes)
	s, err := catalog.Resolve(smol, cache)
	if err != nil {
		t.Fatal(err)
	}
	other := inference.Digest{1, 2, 3}
	var altered *catalog.AlteredFileError
	err = s.Check(other)
	if !errors.As(err, &altered) {
		t.Fatalf("accepted: %v", err)
	}
	for _, want := range []string{path, other.String(), e.Digest.String(), "make model"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %s", err, want)
		}
	}
	if err := s.Check(e.Digest); err != nil {
		t.Error(err)
	}
	if err := (catalog.Source{ID: "mine", Path: "mine.gguf"}).Check(other); err != nil {
		t.Errorf("a path has no pinned digest: %v", err)
	}
}

func TestUnknownModelSuggestsTheNearest(t *testing.T) {
	for _, spec := range []string{"smollm2-135m-instuct", "smollm2", "smollm2-135m", "smolm2", "Smol2-135M", smol + ":q8_0", "smolm2-135m-instruct:q4_1", "135m"} {
		_, err := catalog.Resolve(spec, t.TempDir())
		var unknown *catalog.UnknownModelError
		if !errors.As(err, &unknown) || !slices.Contains(unknown.Near, smol+":q4_1") || !strings.Contains(err.Error(), "did you mean "+smol) {
			t.Errorf("%q: %v", spec, err)
		}
	}
	for _, spec := range []string{"llama-3.1-405b", "mistral-7b-instruct", "other", "m", "", "x", strings.Repeat("z", 100_000)} {
		_, err := catalog.Resolve(spec, t.TempDir())
		var unknown *catalog.UnknownModelError
		if !errors.As(err, &unknown) || len(unknown.Near) != 0 || !strings.Contains(err.Error(), "holds "+smol) {
			t.Errorf("%.20q: %.200v", spec, err)
		}
	}
}

func TestUnsupportedSourcesSayWhichFileIsWanted(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(t.TempDir(), "model.safetensors")
	full := t.TempDir()
	for _, f := range []string{file, filepath.Join(full, "a.gguf")} {
		if err := os.WriteFile(f, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for spec, want := range map[string]string{
		folder:                   "path of one .gguf file",
		full:                     filepath.Join(full, "a.gguf"),
		file:                     "ends in .gguf",
		"hf:org/repo":            "download a .gguf file of org/repo",
		"hf:org/repo@v1":         "org/repo@v1",
		"hf:org/repo/m.Q4.gguf":  "download m.Q4.gguf of org/repo",
		"hf:org/repo/s/m.Q.gguf": "download s/m.Q.gguf",
		"hf:":                    ".gguf",
	} {
		_, err := catalog.Resolve(spec, t.TempDir())
		var unsupported *catalog.UnsupportedSourceError
		if !errors.As(err, &unsupported) || unsupported.Spec != spec || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", spec, err)
		}
	}
}

func TestIDOfPathIsTheFilesName(t *testing.T) {
	dir := t.TempDir()
	for name, want := range map[string]inference.ModelID{
		"Tiny.Q8_0.gguf":                   "tiny.q8_0",
		"My Model (v2).GGUF":               "my-model--v2-",
		".gguf":                            "model",
		strings.Repeat("a", 200) + ".gguf": inference.ModelID(strings.Repeat("a", 128)),
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := catalog.Resolve(path, "")
		if err != nil || s.ID != want || s.Path != path || s.Digest != (inference.Digest{}) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
		if err := s.ID.Validate(); err != nil {
			t.Error(err)
		}
	}
}

func TestCacheDirFollowsTheEnvironment(t *testing.T) {
	t.Setenv("FARLABS_CACHE", "/elsewhere")
	if got := catalog.CacheDir(); got != "/elsewhere" {
		t.Errorf("got %s", got)
	}
	t.Setenv("FARLABS_CACHE", "")
	user, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	if got := catalog.CacheDir(); got != filepath.Join(user, "farlabs") {
		t.Errorf("got %s", got)
	}
}

func TestPinnedDigestIsThatOfTheFetchedModel(t *testing.T) {
	s, err := catalog.Resolve(smol, catalog.CacheDir())
	if err != nil {
		t.Fatal(err)
	}
	c, err := weights.Open(s.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m, err := c.Manifest(context.Background(), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Check(m.Digest()); err != nil {
		t.Error(err)
	}
	e, _ := catalog.Lookup(s.ID)
	var parameters int64
	for _, x := range m.Tensors {
		n := int64(1)
		for _, d := range x.Shape {
			n *= int64(d)
		}
		parameters += n
	}
	blocks, _ := c.Uint("llama.block_count")
	context, _ := c.Uint("llama.context_length")
	family, _ := c.String("general.architecture")
	licence, _ := c.String("general.license")
	if parameters != e.Parameters || int(blocks) != e.Layers || int(context) != e.Context || family != e.Family || licence != e.Licence {
		t.Errorf("the file says %d parameters, %d layers, context %d, %s, %s", parameters, blocks, context, family, licence)
	}
}

func TestFetchScriptAgreesWithTheCatalog(t *testing.T) {
	script, err := os.ReadFile(filepath.Join("..", "..", "scripts", "model.sh"))
	if err != nil {
		t.Fatal(err)
	}
	e, _ := catalog.Lookup(smol)
	for _, line := range []string{"file=" + e.File, "sha256=" + e.SHA256.String()} {
		if !strings.Contains(string(script), "\n"+line+"\n") {
			t.Errorf("scripts/model.sh lacks %s", line)
		}
	}
}
