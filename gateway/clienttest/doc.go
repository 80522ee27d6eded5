// Package clienttest asks a running gateway with the official OpenAI clients,
// unmodified: client_test.go with openai-go, openai_test.py with the package
// of that name for Python. Both take the gateway's address from the
// environment, as those clients do:
//
//	OPENAI_BASE_URL=http://127.0.0.1:8080/v1 go test ./...
//	OPENAI_BASE_URL=http://127.0.0.1:8080/v1 python3 openai_test.py
//
// OPENAI_API_KEY is sent where the gateway wants one; FARLABS_TEST_MODEL names
// the model, by default the first of the list.
//
// It is a module of its own, so that nothing else of the project depends on
// those clients. It says what shapes and rules hold, not what a model answers.
package clienttest
