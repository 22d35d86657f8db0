package llm

// Normal lets tests outside read a text as the filter does.
func Normal(s string) string { return normal(plain(s)) }
