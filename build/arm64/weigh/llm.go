//go:build weigh_llm

package main

import (
	"context"

	"edgeagent"
	"edgeagent/llm"
	"edgeagent/llm/anthropic"
	"edgeagent/llm/ollama"
	"edgeagent/llm/openai"
	"edgeagent/llm/runbook"
)

func init() {
	with = func(c edgeagent.Case) (edgeagent.Outcome, error) {
		book, err := runbook.Load(c.Line)
		if err != nil {
			return edgeagent.Outcome{}, err
		}
		r := llm.New(llm.Options{Runbook: book, Providers: []llm.ProviderOptions{
			{Provider: openai.New(openai.Options{})}, {Provider: anthropic.New(anthropic.Options{})}, {Provider: ollama.New(ollama.Options{})},
		}})
		go func() { _ = r.Run(context.Background()) }()
		return r.Diagnose(context.Background(), c)
	}
}
