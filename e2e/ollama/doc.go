// Package ollama runs a real Ollama server for the end-to-end tests, with small
// models that are written here: they say what a test wants, and are loaded,
// counted, cut off and run out of memory like any other.
//
// setup.sh puts the server into e2e/out/ollama: the one on PATH, or one built
// from its Go module.
package ollama
