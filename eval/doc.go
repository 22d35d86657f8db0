// Package eval measures how good diagnoses are, on cases whose cause is known.
//
// Scoring is code: an answer names the cause when its words do, by the rules of
// [Names], and no model judges another. docs/evaluation.md says what the figures
// mean, and what they do not.
package eval
