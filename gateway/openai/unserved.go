package openai

import (
	"encoding/json"
	"slices"
	"sort"
	"strings"
)

// unserved lists fields that change answers and that are known, from OpenAI or
// from servers that speak its API, but not served: each with a test of the
// values that ask for nothing, which are accepted. null always is.
var unserved = map[string]func(json.RawMessage) bool{
	// OpenAI.
	"tools":              empty,
	"functions":          empty,
	"tool_choice":        oneOf(`"none"`, `"auto"`),
	"function_call":      oneOf(`"none"`, `"auto"`),
	"response_format":    plainFormat,
	"modalities":         onlyText,
	"audio":              never,
	"web_search_options": never,
	"suffix":             oneOf(`""`),
	"best_of":            oneOf("1"),
	"store":              oneOf("false"),
	// vLLM, llama.cpp, TGI, SGLang.
	"grammar":                    oneOf(`""`),
	"json_schema":                empty,
	"regex":                      oneOf(`""`),
	"ebnf":                       oneOf(`""`),
	"guided_json":                never,
	"guided_regex":               never,
	"guided_choice":              empty,
	"guided_grammar":             never,
	"structured_outputs":         never,
	"structural_tag":             never,
	"use_beam_search":            oneOf("false"),
	"length_penalty":             oneOf("1", "1.0"),
	"min_tokens":                 oneOf("0"),
	"stop_token_ids":             empty,
	"bad_words":                  empty,
	"allowed_token_ids":          empty,
	"prompt_logprobs":            never,
	"include_stop_str_in_output": oneOf("false"),
	"skip_special_tokens":        oneOf("true"),
	"truncate_prompt_tokens":     never,
	"add_generation_prompt":      oneOf("true"),
	"continue_final_message":     oneOf("false"),
	"chat_template":              never,
	"chat_template_kwargs":       empty,
	"documents":                  empty,
	"typical_p":                  oneOf("1", "1.0", "0"),
	"mirostat":                   oneOf("0"),
	"repeat_penalty":             oneOf("1", "1.0"), // llama.cpp's name; repetition_penalty is served
	"tfs_z":                      oneOf("1", "1.0"),
	"dynatemp_range":             oneOf("0", "0.0"),
	"xtc_probability":            oneOf("0", "0.0"),
	"dry_multiplier":             oneOf("0", "0.0"),
	"top_a":                      oneOf("0", "0.0"),
	"no_repeat_ngram_size":       oneOf("0"),
	"n_predict":                  oneOf("-1"), // llama.cpp's max_tokens
	"watermark":                  oneOf("false"),
	"prompt_embeds":              never,
	"lora":                       empty,
}

// codeUnserved is the code of an error that names what is not served yet.
const codeUnserved = "unsupported_parameter"

// refuseUnserved names every field that cannot be honoured.
func refuseUnserved(f *fields) *Error {
	var names []string
	for name, nothing := range unserved {
		if r, ok := f.get(name); ok && !nothing(r) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	sort.Strings(names)
	return &Error{
		Param: names[0], Code: codeUnserved,
		Message: "not served yet: " + strings.Join(names, ", ") + "; leave it out",
	}
}

func never(json.RawMessage) bool { return false }

func empty(r json.RawMessage) bool {
	s := strings.Join(strings.Fields(string(r)), "")
	return s == "[]" || s == "{}" || s == `""`
}

func oneOf(values ...string) func(json.RawMessage) bool {
	return func(r json.RawMessage) bool { return slices.Contains(values, string(r)) }
}

func plainFormat(r json.RawMessage) bool {
	var format struct {
		Type string `json:"type"`
	}
	return json.Unmarshal(r, &format) == nil && format.Type == "text"
}

func onlyText(r json.RawMessage) bool {
	var kinds []string
	if json.Unmarshal(r, &kinds) != nil {
		return false
	}
	return !slices.ContainsFunc(kinds, func(k string) bool { return k != "text" })
}
