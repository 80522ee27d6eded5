package catalog

import "github.com/farlabs/inference"

// entries ascend by id.
var entries = []Entry{
	{
		ID:           "smollm2-135m-instruct:q4_1",
		Family:       "llama",
		Parameters:   134_515_008,
		Layers:       30,
		Context:      8192,
		Categories:   []string{"language", "chat"},
		Uses:         []string{"demonstrations", "tests", "short answers on any machine"},
		Licence:      "apache-2.0",
		Quantisation: "Q4_1",
		PriceClass:   Price3B7B,
		Source:       "HuggingFaceTB/SmolLM2-135M-Instruct",
		File:         "SmolLM2-135M-Instruct.Q4_1.gguf",
		Bytes:        98_362_432,
		SHA256:       digest("b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"),
		Digest:       digest("ef45091c757909bab53916686361f5e20eb1e6cd4252a09047ad2fd878fe7b46"),
		Fetch:        "make model",
	},
}

func digest(s string) inference.Digest {
	d, err := inference.ParseDigest(s)
	if err != nil {
		panic(err) // a typing error in the table above
	}
	return d
}
