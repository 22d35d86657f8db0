package runbook

import (
	"math"
	"regexp"
	"slices"
	"strings"
)

// BM25 with the usual constants: k1 how fast repetition stops to matter, b how
// much long texts are held back.
const (
	k1 = 1.2
	b0 = 0.75
)

// minShare is the share of the query's weight that a text must hold to count as
// similar at all. Below it two texts share "sensor" and nothing else.
const minShare = 0.3

// posting says how often a term occurs in a text.
type posting struct {
	doc   int
	times float64
}

// index finds texts by their words.
type index struct {
	postings map[string][]posting
	length   []float64
	average  float64
}

// hit is a text that was found.
type hit struct {
	doc   int
	score float64
}

func newIndex(docs [][]string) index {
	x := index{postings: map[string][]posting{}, length: make([]float64, len(docs))}
	for doc, terms := range docs {
		times := map[string]float64{}
		for _, t := range terms {
			times[t]++
		}
		for t, n := range times {
			x.postings[t] = append(x.postings[t], posting{doc, n})
		}
		x.length[doc] = float64(len(terms))
		x.average += float64(len(terms)) / float64(len(docs))
	}
	return x
}

// idf is how much a term says: more, the fewer texts have it. A term that no
// text has says as much as one that a single text has, else one shared word
// would be all of what is known.
func (x index) idf(term string) float64 {
	n, have := float64(len(x.length)), float64(max(1, len(x.postings[term])))
	return math.Log(1 + (n-have+0.5)/(have+0.5))
}

// maxHits is how many texts a search returns.
const maxHits = 16

// search returns the texts that hold enough of the query, best first; equals in
// the order of the book. Scores lie in slices, not maps: a word like "sensor"
// is in thousands of texts.
func (x index) search(query []string) []hit {
	scores, held := make([]float64, len(x.length)), make([]float64, len(x.length))
	var total float64
	for _, t := range distinct(query) {
		idf := x.idf(t)
		total += idf
		for _, p := range x.postings[t] {
			norm := p.times + k1*(1-b0+b0*x.length[p.doc]/x.average)
			scores[p.doc] += idf * p.times * (k1 + 1) / norm
			held[p.doc] += idf
		}
	}
	var best []hit
	for doc, score := range scores {
		if score > 0 && held[doc] >= minShare*total {
			best = keep(best, hit{doc, score})
		}
	}
	return best
}

// keep inserts a hit behind those that are as good, within maxHits.
func keep(best []hit, h hit) []hit {
	if len(best) == maxHits && h.score <= best[maxHits-1].score {
		return best
	}
	at, _ := slices.BinarySearchFunc(best, h.score, func(a hit, score float64) int {
		if a.score >= score {
			return -1
		}
		return 1
	})
	best = slices.Insert(best, at, h)
	return best[:min(len(best), maxHits)]
}

func distinct(in []string) []string {
	slices.Sort(in)
	return slices.Compact(in)
}

var term = regexp.MustCompile(`\b\p{L}{1,3}[- ]\d{2,6}[a-z]?\b|[\p{L}\d]+`)

// words splits a text into terms: folded, codes in their one spelling, plurals
// without their s, and without the words that every text has.
func words(s string) []string {
	var out []string
	for _, w := range term.FindAllString(fold(s), -1) {
		w = joined.Replace(w)
		if len(w) > 4 && strings.HasSuffix(w, "s") && !strings.HasSuffix(w, "ss") {
			w = w[:len(w)-1]
		}
		if len(w) > 1 && !stopWords[w] {
			out = append(out, w)
		}
	}
	return out
}

// fold makes spellings equal: case, umlauts, underscores.
func fold(s string) string {
	return strings.TrimSpace(folding.Replace(strings.ToLower(s)))
}

var folding = strings.NewReplacer("ä", "ae", "ö", "oe", "ü", "ue", "ß", "ss", "_", " ", ".", " ")

var joined = strings.NewReplacer(" ", "", "-", "")

var stopWords = func() map[string]bool {
	out := map[string]bool{}
	for w := range strings.FieldsSeq(`the an and or of to in on at for with by from is are was were be been it its this that if not no as than then into out up
		der die das den dem des ein eine einer eines einen einem und oder von zu im in am an auf fuer mit bei ist sind war nicht kein wenn als dann aus ueber nach
		cause checks check causes alarm fault stoerung meldung`) {
		out[w] = true
	}
	return out
}()
