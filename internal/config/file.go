package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds a settings file, bytes.
const maxFile = 1 << 20

// value is what a file says of one setting, as it is written there: 0123 and
// 0x12 are text to whoever reads a name or an address.
type value struct {
	words []string
	list  bool // written as a list, which may have any number of words
}

func read(path string, optional bool) (map[string]value, error) {
	if path == "" {
		return map[string]value{}, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && optional {
		return map[string]value{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("config file %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("longer than %d bytes", maxFile)
	}
	var values map[string]value
	if err == nil {
		values, err = parse(b)
	}
	if err != nil {
		return nil, fmt.Errorf("config file %s: %w", path, err)
	}
	return values, nil
}

// parse reads a YAML mapping from keys to scalars and lists of scalars.
func parse(b []byte) (map[string]value, error) {
	values := map[string]value{}
	in := yaml.NewDecoder(bytes.NewReader(b))
	var doc yaml.Node
	switch err := in.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return values, nil // empty, or comments only
	case err != nil:
		return nil, err
	}
	if err := in.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("want one YAML document")
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return values, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, errors.New("want lines such as \"memory: 6GiB\"")
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key := root.Content[i]
		if _, twice := values[key.Value]; twice {
			return nil, fmt.Errorf("line %d: %s is there twice", key.Line, key.Value)
		}
		v, err := readValue(root.Content[i+1])
		if err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", key.Line, key.Value, err)
		}
		values[key.Value] = v
	}
	return values, nil
}

func readValue(n *yaml.Node) (value, error) {
	if n.Kind != yaml.SequenceNode {
		word, err := scalar(n)
		return value{words: []string{word}}, err
	}
	v := value{list: true, words: []string{}}
	for _, item := range n.Content {
		word, err := scalar(item)
		if err != nil {
			return value{}, err
		}
		v.words = append(v.words, word)
	}
	return v, nil
}

func scalar(n *yaml.Node) (string, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch {
	case n.Kind != yaml.ScalarNode:
		return "", errors.New("want one value, or a list of them")
	case n.Tag == "!!null":
		return "", errors.New("no value; leave the key out for the default")
	}
	return n.Value, nil
}
