package ollama

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// Model is a language model that a test writes itself: real enough for a real
// server to load, to count its tokens and to hang on, and it says what the test
// wants.
type Model struct {
	Name string

	pieces  []string // it says one after the other
	back    int      // the piece after the last one; len(pieces) ends the answer
	random  bool     // weights by chance instead
	layers  int
	keySize int // of a layer's keys and values each: what a token of context costs
}

// Script says exactly text, whatever it is asked.
func Script(name, text string) Model {
	pieces := cut(text)
	return Model{Name: name, pieces: pieces, back: len(pieces), layers: 1, keySize: 32}
}

// Endless says text and then its end, over and over, until somebody stops it.
func Endless(name, text, again string) Model {
	begin := cut(text)
	return Model{Name: name, pieces: append(begin, again+again, again+again+again), back: len(begin), layers: 1, keySize: 32}
}

// Empty ends its answer before it has begun.
func Empty(name string) Model { return Model{Name: name, layers: 1, keySize: 32} }

// Random has weights by chance, of a fixed seed: it babbles.
func Random(name string) Model {
	return Model{Name: name, random: true, layers: 2, keySize: 32}
}

// Greedy needs half a megabyte of memory for each token of its context.
func Greedy(name string) Model { return Model{Name: name, layers: 16, keySize: 8192} }

// Slow makes each word cost about as much as n layers of a small model do.
func (m Model) Slow(n int) Model {
	m.layers = n
	return m
}

// The special tokens, behind the 256 single bytes.
const (
	tokenEnd = 256 + iota
	tokenStart
	tokenPieces // the first of the script
)

const startText = "<|start|>"

// cut divides a text in pieces of which no two are alike: what comes after a
// piece is then a matter of that piece alone.
func cut(text string) []string {
	var pieces []string
	seen := map[string]bool{}
	for text != "" {
		n := min(5, len(text))
		for n < len(text) && seen[text[:n]] {
			n++
		}
		for seen[text[:n]] || len(text[:n]) == 1 { // the last one repeats another: join them
			last := len(pieces) - 1
			if last < 0 {
				break
			}
			text, n = pieces[last]+text[:n], len(pieces[last])+n
			pieces = pieces[:last]
		}
		seen[text[:n]] = true
		pieces = append(pieces, text[:n])
		text = text[n:]
	}
	return pieces
}

// width is the number of places of a token's vector: one each for the bytes
// together, the end, the start and every piece.
func (m Model) width() int { return (3 + len(m.pieces) + 31) / 32 * 32 }

// place is where a token's vector has its one.
func (m Model) place(token int) int { return max(0, token-tokenEnd+1) }

// follower is what the model says after a token.
func (m Model) follower(token int) int {
	switch piece := token - tokenPieces; {
	case token < tokenStart, len(m.pieces) == 0:
		return tokenEnd
	case token == tokenStart:
		return tokenPieces
	case piece+1 < len(m.pieces):
		return token + 1
	case m.back < len(m.pieces):
		return tokenPieces + m.back
	}
	return tokenEnd
}

// Write writes the model and what Ollama wants to know of it into dir, and
// returns the path of the Modelfile.
func (m Model) Write(dir string) (string, error) {
	path := filepath.Join(dir, m.Name+".gguf")
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := writeGGUF(f, m.meta(), m.tensors()); err != nil {
		return "", err
	}
	if err := f.Close(); err != nil {
		return "", err
	}
	modelfile := filepath.Join(dir, m.Name+".Modelfile")
	text := fmt.Sprintf("FROM %s\nTEMPLATE \"\"\"{{ range .Messages }}{{ .Content }} {{ end }}%s\"\"\"\n", path, startText)
	return modelfile, os.WriteFile(modelfile, []byte(text), 0o600)
}

func (m Model) vocabulary() (tokens []string, kinds []int32) {
	const normal, control = 1, 3
	for b := range 256 {
		tokens, kinds = append(tokens, visible(string([]byte{byte(b)}))), append(kinds, normal)
	}
	tokens, kinds = append(tokens, "<|end|>", startText), append(kinds, control, control)
	for _, p := range m.pieces {
		tokens, kinds = append(tokens, visible(p)), append(kinds, normal)
	}
	return tokens, kinds
}

// visible writes bytes as byte-level vocabularies do: every byte as a letter
// that can be seen.
func visible(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := rune(s[i])
		switch {
		case c >= '!' && c <= '~', c >= 0xa1 && c <= 0xac, c >= 0xae:
			b.WriteRune(c)
		case c <= ' ':
			b.WriteRune(0x100 + c)
		case c <= 0xa0:
			b.WriteRune(0x121 + c - 0x7f)
		default:
			b.WriteRune(0x143)
		}
	}
	return b.String()
}

func (m Model) meta() []pair {
	tokens, kinds := m.vocabulary()
	const hidden = 32
	return []pair{
		{"general.architecture", "llama"},
		{"general.name", m.Name},
		{"general.file_type", uint32(0)},
		{"llama.context_length", uint32(1 << 18)},
		{"llama.embedding_length", uint32(m.width())},
		{"llama.block_count", uint32(m.layers)},
		{"llama.feed_forward_length", uint32(hidden)},
		{"llama.attention.head_count", uint32(m.keySize / 32)},
		{"llama.attention.head_count_kv", uint32(m.keySize / 32)},
		{"llama.attention.key_length", uint32(32)},
		{"llama.attention.value_length", uint32(32)},
		{"llama.attention.layer_norm_rms_epsilon", float32(1e-5)},
		{"llama.rope.dimension_count", uint32(32)},
		{"llama.vocab_size", uint32(len(tokens))},
		{"tokenizer.ggml.model", "gpt2"},
		{"tokenizer.ggml.pre", "gpt-2"},
		{"tokenizer.ggml.tokens", tokens},
		{"tokenizer.ggml.token_type", kinds},
		{"tokenizer.ggml.merges", []string{tokens[0] + " " + tokens[1]}},
		{"tokenizer.ggml.bos_token_id", uint32(tokenStart)},
		{"tokenizer.ggml.eos_token_id", uint32(tokenEnd)},
		{"tokenizer.ggml.add_bos_token", false},
	}
}

// tensors returns the weights. A script's layers are zero: what a word leads to
// stands in the output matrix alone.
func (m Model) tensors() []tensor {
	tokens, _ := m.vocabulary()
	width, words, hidden := m.width(), len(tokens), 32
	one := func(int) float32 { return 1 }
	var fill func(int) float32
	embedding := func(i int) float32 { return bit(i%width == m.place(i/width)) }
	output := func(i int) float32 { return bit(m.leads(i%width, i/width)) }
	if m.random {
		rng := rand.New(rand.NewPCG(1, 2))
		fill = func(int) float32 { return float32(rng.NormFloat64()) * 0.2 }
		embedding, output = fill, fill
	}
	all := []tensor{
		{"token_embd.weight", []int{width, words}, embedding},
		{"output_norm.weight", []int{width}, one},
		{"output.weight", []int{width, words}, output},
	}
	for n := range m.layers {
		name := func(part string) string { return fmt.Sprintf("blk.%d.%s.weight", n, part) }
		all = append(all,
			tensor{name("attn_norm"), []int{width}, one},
			tensor{name("attn_q"), []int{width, m.keySize}, fill},
			tensor{name("attn_k"), []int{width, m.keySize}, fill},
			tensor{name("attn_v"), []int{width, m.keySize}, fill},
			tensor{name("attn_output"), []int{m.keySize, width}, fill},
			tensor{name("ffn_norm"), []int{width}, one},
			tensor{name("ffn_gate"), []int{width, hidden}, fill},
			tensor{name("ffn_up"), []int{width, hidden}, fill},
			tensor{name("ffn_down"), []int{hidden, width}, fill})
	}
	return all
}

// leads reports whether the token of a place is followed by the one of a row.
func (m Model) leads(place, row int) bool {
	token := place + tokenEnd - 1
	return place > 0 && token < tokenPieces+len(m.pieces) && m.follower(token) == row
}

// bit is large enough for no other word to have a chance.
func bit(is bool) float32 {
	if is {
		return 8
	}
	return 0
}
