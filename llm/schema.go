package llm

import "encoding/json"

// Limits of an answer. They stand in the schema's descriptions and are enforced
// by [Judge], not by the schema's keywords: strict endpoints refuse a schema
// with maxLength, and local grammars obey it by cutting a word in two.
const (
	maxEvidence    = 8
	maxCauses      = 3
	maxChecks      = 5
	maxMissing     = 5
	maxCauseText   = 200
	maxCheckText   = 160
	maxSummary     = 300
	maxMissingText = 160
)

// answerSchema is the shape of a model's answer. The order of the properties
// is the order of writing: evidence before verdict, summary last, because a
// small model that has to name the verdict first then argues for it.
var answerSchema = json.RawMessage(`{
"type":"object","additionalProperties":false,
"required":["evidence","causes","checks","urgency","missing","insufficient_evidence","summary"],
"properties":{
"evidence":{"type":"array","description":"at most 8 observations that matter","items":{
 "type":"object","additionalProperties":false,"required":["name","observation"],"properties":{
 "name":{"type":"string","description":"a tag or alarm of the case, exactly as named there"},
 "observation":{"type":"string"}}}},
"causes":{"type":"array","description":"at most 3, most likely first","items":{
 "type":"object","additionalProperties":false,"required":["cause","likelihood","evidence","sources"],"properties":{
 "cause":{"type":"string","description":"at most 200 characters"},
 "likelihood":{"type":"string","enum":["likely","possible","unlikely"]},
 "evidence":{"type":"array","items":{"type":"string","description":"a tag or alarm of the case"}},
 "sources":{"type":"array","items":{"type":"string","description":"the id of a passage of the case"}}}}},
"checks":{"type":"array","description":"3 to 5, cheapest first, at most 160 characters each","items":{"type":"string"}},
"urgency":{"type":"string","enum":["now","shift","planned"]},
"missing":{"type":"array","description":"what would have to be known","items":{"type":"string"}},
"insufficient_evidence":{"type":"boolean"},
"summary":{"type":"string","description":"one or two sentences, at most 300 characters"}
}}`)

// AnswerSchema returns the JSON schema of an answer: strict, every property
// required, without length keywords.
func AnswerSchema() json.RawMessage { return append(json.RawMessage(nil), answerSchema...) }
