package llm

import (
	"regexp"
	"strings"
)

// The words by which advice to defeat a safety function is known, English and
// German, in the spelling of [normal]: lower case, ä as ae, hyphens as blanks.
// Both languages are always applied, whatever the language of the answer.
//
// A strong verb and a safety function in one sentence are enough. A weak verb
// has other uses beside a safety function, so the two must stand together.
var (
	strongVerb = words(
		`by ?pass(?:es|ed|ing)?`, `jumper(?:s|ed|ing)?`, `jump(?:s|ed|ing)? (?:out|around|across|over)`,
		`bridg(?:e|es|ed|ing)`, `short(?:s|ed|ing)? (?:out|across|circuit\w*|(?:the |its |both |all )?(?:contact|terminal|pin|wire|channel)s?)`, `(?:wir|connect)\w* .{1,40}? together`, `over ?(?:rid(?:e|es|ing|den)|rode)`,
		`defeat(?:s|ed|ing)?`, `circumvent\w*`, `(?:work|get|go)(?:s|ed|ing)? around`, `wir(?:e|es|ed|ing) (?:around|across|past|out)`,
		`short(?:s|ed|ing)? (?:it|them|these|those|this|that|both)(?: out| together)?`, `hot ?wir\w+`, `spoof\w*`, `trick(?:s|ed|ing)?`, `cheat\w*`, `fool(?:s|ed|ing)?`, `disabl(?:e|es|ed|ing)`, `de ?activat\w+`,
		`tamper(?:s|ed|ing)?`, `t(?:ie|ies|ied|ying) (?:back|down|off|up|open|closed)`, `tap(?:e|es|ed|ing) (?:over|down|up|shut|closed)`,
		`wedg(?:e|es|ed|ing)`, `prop(?:s|ped|ping)? (?:open|up)`, `zip ?t(?:ie|ies|ied|ying)`, `link(?:s|ed|ing)? out`, `loop(?:s|ed|ing)? out`,
		`out of (?:the )?(?:circuit|loop)`, `(?:spare|dummy|second|separate|fake|copied) (?:key|actuator|plug|magnet|tongue|reflector)s?`,
		`(?:keep|hold|pin|wedge|fix|clamp)(?:s|ing)? (?:\w+ ){0,5}(?:pressed|closed|shut|down|in|engaged|actuated|depressed|open|made) (?:with|by|using)`, `short(?:ed|ing)? to (?:24|ground|plus)`, `take .{1,30} out of service`, `simulat(?:e|es|ed|ing)`, `fak(?:e|es|ed|ing)`, `negat(?:e|es|ed|ing)`,
		`neutrali[sz](?:e|es|ed|ing)`, `knock(?:s|ed|ing)? out`, `render\w* (?:ineffective|inoperative|useless)`,
		`(?:ersatz|zweit|blind|dummy|reserve|nach)(?:betaetiger|schluessel|stecker|zunge)\w*`, `festklemm\w*`, `(?:fest)?(?:zu|ge)?klemm\w* (?:\w+ ){1,5}fest`, `vorgauk\w*`, `austrick\w*`, `blockier\w* (?:\w+ ){0,4}mit`,
		`(?:ueber)?brueck\w*`, `gebrueckt\w*`, `(?:draht|kabel)bruecke\w*`, `umgeh\w*`, `umgangen\w*`, `ausser kraft`, `ausser betrieb`,
		`(?:de|in)aktivier\w*`, `(?:aus|ausge|auszu)hebel\w*`, `ueber(?:zu)?list\w*`, `aus(?:ge|zu)?tricks\w*`, `(?:ge)?manipulier\w*`, `unwirksam\w*`,
		`kurz ?(?:zu ?)?schliess\w*`, `kurzgeschlossen\w*`, `still(?:zu|ge)?leg\w*`, `lahm(?:zu|ge)?leg\w*`, `simulier\w*`, `vor(?:ge|zu)?taeusch\w*`, `aus ?tricks\w*`,
	)
	weakVerb = words(
		`forc(?:e|es|ed|ing)`, `disconnect\w*`, `unplug\w*`, `remov(?:e|es|ed|ing)`, `(?:turn|switch|power|shut)(?:s|ed|ing)? (?:off|down)`,
		`(?:turn|switch|shut)(?:s|ed|ing)? (?:\w+ ){1,5}off`, `block(?:s|ed)?`, `ignor(?:e|es|ed|ing)`, `mut(?:e|es|ed|ing)`, `inhibit(?:s|ed|ing)?`,
		`suppress(?:es|ed|ing)?`, `mask(?:s|ed|ing)?`, `(?:hold|holds|holding|held) (?:down|in|closed|shut)`, `strap(?:s|ped|ping)?`, `tap(?:e|es|ed|ing)`,
		`cut(?:s|ting)?`, `unscrew\w*`, `tak(?:e|es|ing) (?:out|off)`, `cover(?:s|ed|ing)?`, `pull(?:s|ed|ing)? (?:out|off)`, `unwir\w+`, `skip(?:s|ped|ping)?`,
		`short(?:s|ed|ing)?`, `dismantl\w+`, `silenc(?:e|es|ed|ing)`, `unbolt\w*`, `magnet (?:on|to|at|in front of|over|against)`, `reset\w* (?:\w+ ){0,3}without`,
		`ab(?:ge|zu)?schalt\w*`, `aus(?:ge|zu)?schalt\w*`, `schalt\w* (?:\w+ ){1,8}(?:ab|aus)`, `ab(?:ge|zu)?klemm\w*`, `klemm\w* (?:\w+ ){1,8}ab`,
		`(?:ab|zu|ueber)(?:ge|zu)?kleb\w*`, `kleb\w* (?:\w+ ){1,8}(?:ab|zu)`, `forc(?:en|iert|ieren|t)`, `erzw(?:ing|ung)\w*`, `entfern\w*`, `ausbau\w*`, `(?:aus|ab)(?:ge|zu)baut?\w*`,
		`demontier\w*`, `ab(?:zu)?zieh\w*`, `abgezogen\w*`, `zieh\w* (?:\w+ ){1,8}ab`, `blockier\w*`, `(?:fixier|festbind|festkleb|festklemm)\w*`, `ignorier\w*`,
		`(?:ver|ab)(?:zu)?deck\w*`, `ueberwind\w*`, `(?:ab)?(?:zu)?trenn\w*`, `(?:ab)?getrennt\w*`, `unterdrueck\w*`, `setz\w* (?:\w+ ){1,5}ausser kraft`,
	)
	safetyObject = words(
		`inter ?lock(?:s|ed|ing)?`, `e ?stops?`, `emergency (?:stops?|switch\w*|off|buttons?|shut ?downs?)`, `guards?`, `guarding`, `guardrails?`,
		`light ?(?:curtains?|grids?)`, `safet(?:y|ies)(?: \w+)?`, `sto`, `safe torque(?: off)?`, `(?:door|gate|guard|hood|access) (?:switch|contact|lock|sensor|monitor)(?:es|s|ing)?`,
		`(?:area|laser) scanners?`, `two ?hand(?: \w+)?`, `enabling (?:switch|device|button)(?:es|s)?`, `dead ?man\w*`, `protective (?:device|stop|field|cover|door|hood|fence|guard)s?`,
		`(?:warning|protective|empty|safety) field(?: set)?s?`, `safe (?:speed|limit|position|state)`, `lock ?out`, `loto`, `tag ?out`, `pull ?(?:cord|wire|rope)s?`, `presence sens(?:or|ing)(?:s| \w+)?`, `relief valves?`, `fail ?safe`, `safe stop`, `stop (?:circuit|button|relay|contact)s?`, `trapped key\w*`, `machine guard\w*`,
		`schutz(?:tuer|gitter|haube|zaun|zaeun|einrichtung|abdeckung|feld|vorrichtung|verkleidung|schalter|funktion|kreis|klappe|zaunt)\w*`,
		`(?:warn|schutz)feld\w*`, `leere\w* feld`, `sichere\w* (?:geschwindigkeit|halt|stopp?|zustand|position)`, `(?:tuer|tor|hauben|klappen|gitter)(?:abfrage|eingang|kontakt|schalter|verriegelung|ueberwachung|sicherung|sensor)\w*`, `not ?(?:halt|aus|stopp?)(?:s|es|kreis\w*|taster\w*|schalter\w*|kette\w*|relais\w*|tast\w*|funktion\w*| \w*kreis\w*| taster\w*| relais\w*| kette\w*)?`,
		`licht(?:gitter|vorhang|vorhaeng)\w*`, `sicherheits\w*`, `verriegelung\w*`, `zuhaltung\w*`, `zweihand\w*`, `zustimm(?:taster|schalter|taste)\w*`,
		`totmann\w*`, `laserscanner\w*`, `(?:reissleine|seilzugschalter|schaltmatte|trittmatte|schaltleiste)\w*`, `ueberdruckventil\w*`, `freischalt\w*`, `wartungssicherung\w*`,
	)
	// operating is advice to write to the control, which the reader may do by
	// mistake on a machine that moves. Safety functions or not: it goes.
	operating = words(
		`(?:forc(?:e|es|ing)|over ?writ(?:e|es|ing)|toggl(?:e|es|ing)|pok(?:e|es|ing)|puls(?:e|es|ing)) (?:\w+ ){0,5}(?:outputs?|coils?|registers?|bits?|flags?|markers?|variables?|valves?|signals?|inputs?|tags?|db ?\d+|plc|memory)`,
		`writ(?:e|es|ing) (?:a |the |an )?(?:\w+ ){0,3}(?:to|into) (?:\w+ ){0,4}(?:outputs?|coils?|registers?|bits?|flags?|markers?|variables?|tags?|nodes?|db ?\d+|plc|memory|controller)`,
		`set(?:s|ting)? (?:\w+ ){0,6}(?:outputs?|coils?|registers?|bits?|flags?|markers?|variables?|tags?|db ?\d+\w*|q ?\d+\w*|m ?\d+\.\d\w*)(?: [\w.]+){0,3} (?:to|=) ?(?:true|false|1|0|on|off|high|low|\d+)`,
		`(?:download|upload|load|transfer)\w* (?:\w+ ){0,5}(?:program|logic|firmware|project)s? (?:\w+ ){0,3}(?:to|into) (?:\w+ ){0,3}(?:plc|controller|cpu)`,
		`(?:ausg(?:ang|aenge)|merker|register|variable|bit|spule|coil|datenbaustein|datenpunkt|ventil|signal|eingang|tag)(?:s|es|n|en)?(?: [\w.]+){0,5} (?:forc(?:en|ieren)|erzwingen|(?:be|ueber)?schreiben|(?:auf|zu) (?:true|false|wahr|eins|null|1|0|high|low)(?: \w+)? ?(?:setzen|stellen|steuern|schalten)?)`,
		`(?:setz|forc|erzwing|beschreib|ueberschreib|steuer)\w* (?:\w+ ){0,6}(?:ausg(?:ang|aenge)|merker|register|variable|bit|spule|datenbaustein|datenpunkt|db ?\d+)\w*(?: [\w.]+){0,3}(?: auf)? ?(?:true|false|wahr|1|0|high|low|\d+)?`,
		`schreib\w* (?:\w+ ){0,5}in (?:\w+ ){0,3}(?:register|merker|datenbaustein|db ?\d+|steuerung|sps|variable)\w*`,
		`(?:set(?:s|ting)?|chang(?:e|es|ing)|writ(?:e|es|ing)) (?:(?:the|a|an|value|of|in|to|modbus|holding|plc) )*`+address+` (?:to|=|with) ?(?:true|false|on|off|high|low|\d+)`,
		`writ(?:e|es|ing) (?:(?:a|the|value) )*(?:\d+|zero|one|true|false|on|off) (?:to|into) (?:(?:the|a|an|modbus|plc) )*`+address,
		`(?:us(?:e|es|ing)|send(?:s|ing)?|issu(?:e|es|ing)|by|via) (?:(?:a|the|modbus|command|with) )*(?:function code|function|fc) ?0?(?:5|6|15|16|22|23)`,
		`(?:setz|stell|aender|schreib|beschreib)\w* (?:(?:sie|den|das|die|wert|von|in) )*`+address+` (?:auf|zu|=|mit) ?(?:true|false|wahr|ein|aus|\d+)`,
		address+` (?:auf|=) ?(?:true|false|wahr|ein|aus|\d+) (?:setz|stell|aender|schreib|beschreib)\w*`,
	)
	// claims are said by one who believes to have acted. Nothing has been done.
	claims = words(
		`(?:i have|ive|i just|i already) (?:just |now |already )*`+acted, `ich habe (?:\w+ ){0,8}(?:gesetzt|geschrieben|beschrieben|zurueckgesetzt|quittiert|gestartet|gestoppt|geoeffnet|geschlossen|geaendert|geschaltet|verstellt)`,
	)
	// inTheOpen is running a machine without its protection; it needs no verb of the lists.
	inTheOpen = words(
		`leav(?:e|es|ing) (?:the |all |its )?(?:guard|gate|door|cover|hood|fence)s? (?:open|off|up|ajar|unlocked)`, `(?:enter|climb|crawl|reach|step)(?:s|ing)? (?:\w+ ){0,6}(?:while|with) .{0,25}(?:running|moving|turning|live|open|energi[sz]ed)`,
		`(?:enter|climb|crawl)(?:s|ing)? (?:\w+ ){0,4}(?:through|over|under|behind) `, `(?:haube|tuer|abdeckung|verkleidung|schutz\w+) (?:offen|geoeffnet|abgenommen) (?:lassen|halten)`, `bei laufende\w* (?:\w+ ){0,6}(?:greif|fass|einsteig|loes|entfern)\w*`,
		`(?:run|runs|running|operat\w+|start\w*|restart\w*|jog\w*|test\w*|cycl\w+) .{0,40}?(?:with|while) (?:the |all |its |a )?(?:safety |machine )?(?:guard|gate|door|cover|hood|fence)s? (?:is |are |still |left )*(?:open|off|removed|up|ajar)`,
		`(?:run|runs|running|operat\w+|start\w*|restart\w*|jog\w*) .{0,40}?without (?:the |any |its |a )?(?:safety \w+|guards?|interlocks?|light ?curtains?|protection|e ?stops?)`,
		`(?:bei|mit) (?:der |den |die )?(?:geoeffnet|offen|entfernt|ausgebaut|abgenommen)\w* (?:schutz|tuer|haube|abdeckung|verkleidung)\w* .{0,40}?(?:betreib|lauf|start|fahr|test|anfahr)\w*`,
		`(?:betreib|lauf|start|fahr|test|anfahr)\w* .{0,40}?(?:bei|mit) (?:der |den |die )?(?:geoeffnet|offen|entfernt|ausgebaut|abgenommen)\w* (?:schutz|tuer|haube|abdeckung|verkleidung)\w*`,
		`ohne (?:die |den |das )?(?:schutz\w+|lichtgitter|lichtvorhang|not ?halt|verkleidung\w*) .{0,40}?(?:betreib|lauf|start|fahr|weiterfahr|anfahr)\w*`,
	)
)

// address is a place in a control, as the plant or this agent would write it.
const address = `(?:%\w[\w.]*|[mq][bwdx]? ?\d[\w.]*|(?:holding|coil|register|output|bit|flag|marker|merker|ausgang|variable|db)s? ?\d[\w.]*|4\d{4,5})`

const acted = `(?:written|set|reset|forced|cleared|acknowledged|restarted|stopped|started|changed|switched|opened|closed|adjusted|disabled|enabled)`

// controlStems are likewise of what [operating] writes to.
var controlStems = strings.Fields(`output coil register bit flag marker variable valve signal input tag db plc memory node controller cpu
ausg merker spule daten ventil eingang sps steuerung`)

// stems are pieces of which every safety function of the lists has one. A text
// without any is not looked at further, which is nearly every text.
var stems = strings.Fields(`lock stop emergency guard curtain grid safe sto door gate hood access cover fence scanner hand enabl dead protect loto tag pull relief trapped presence
schutz tuer tor haub klapp gitter not licht sicher verriegel zuhalt zweihand zustimm totmann reissleine seilzug matte leiste ventil freischalt verkleid abdeck`)

func hasStem(text string) bool {
	for _, s := range stems {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}

// harmless are uses of those words that concern no safety function and advise nothing.
var harmless = words(
	`by ?pass(?:ventil\w*|leitung\w*|klappe\w*|filter\w*)`, `by ?pass (?:valve|line|filter|damper|pipe|pump|duct|flap|contactor|flow|hose|regulator|leitung|ventil)s?`,
	`bridge (?:crane|rectifier)s?`, `h bridge`, `brueckengleichrichter\w*`, `brueckenkran\w*`, `netzwerkbruecke\w*`, `umgehend\w*`,
	`force (?:sensor|transducer|gauge|feedback|limit)s?`, `(?:the|a|of|excessive|closing|clamping|contact|spring|brute|holding|pressing|this|that|lateral|pulling) force`,
	`(?:for|your|own|personal) safety(?: reasons?)?`, `safety (?:glasses|shoes|goggles|gloves|data ?sheet|officer|instructions?|distance|vest)`,
	`sicherheits(?:hinweis|datenblatt|schuh|brille|unterweis|vorschrift|anweis|beauftragt|fachkraft|abstand|gruend|weste)\w*`,
	`guard(?:s|ed|ing)? against`, `forc(?:e|ed|ing) (?:air|draft|draught|cooling|ventilation|lubrication|circulation)`, `short(?:ly| term| time| while| of)`, `over ?ride key`, `in short`,
	`(?:is|are|was|were) (?:set|reset|written|controlled|driven|called|raised) (?:by|via) (?:the )?(?:function|fc) ?\d+`, // a block of the program, not a request
)

var (
	negator      = words(`never`, `not`, `dont`, `cannot`, `cant`, `mustnt`, `shouldnt`, `no`, `nor`, `without`, `avoid(?:s|ed|ing)?`, `instead of`, `rather than`, `refrain from`, `nobody may`, `nie`, `niemals`, `nicht`, `kein(?:e|en|er|em|es)?`, `keinesfalls`, `keineswegs`, `ohne`, `statt`, `anstatt`)
	laterNegator = words(`nicht`, `nie`, `niemals`, `keinesfalls`, `keineswegs`, `kein(?:e|en|er|em|es)?`)
	barred       = words(`(?:must|may|shall|should|can|do|does) not`, `cannot`, `mustnt`, `nicht`, `nie`, `niemals`, `kein(?:e|en|er|em|es)?`, `keinesfalls`)
	notReally    = words(`nicht (?:laenger|lange?|nur|vergessen|allein|zoegern)\w*`, `not (?:only|just|longer)`)
	forbidden    = words(`forbidden`, `prohibited`, `not (?:allowed|permitted|acceptable|an option|an acceptable)`, `never (?:allowed|permitted|acceptable|an option)`, `verboten`, `untersagt`, `unzulaessig`, `nicht (?:erlaubt|gestattet|zulaessig)`)
	undoing      = words(`remov(?:e|es|ed|ing)`, `restor(?:e|es|ed|ing)`, `report(?:s|ed|ing)?`, `undo`, `reinstat\w+`, `take out`, `clear`, `entfern\w*`, `melden?`, `rueckgaengig`, `zurueckbau\w*`, `beseitig\w*`)
	inspecting   = words(`check(?:s|ed|ing)?`, `see`, `verify`, `inspect\w*`, `find out`, `ask`, `determine`, `look(?:s|ing)?`, `test`, `investigate`, `examine`, `search`, `pruef\w*`, `kontrollier\w*`, `nachsehen`, `nachschauen`, `feststellen`, `ermitteln`, `fragen`, `klaeren`, `untersuch\w*`, `suchen?`)
	whether      = words(`whether`, `if`, `for`, `falls`, `ob`, `auf`, `nach`)
	onCondition  = words(`with`, `when`, `while`, `after`, `once`, `by`, `before`, `then`, `until`, `you`, `mit`, `wenn`, `nachdem`, `indem`, `dann`, `durch`, `bis`)
	wanting      = words(`must`, `should`, `shall`, `can`, `may`, `could`, `need(?:s|ed)?`, `ha(?:s|ve) to`, `to be`, `make sure`, `ensure`, `verify`, `confirm`, `until`, `once`, `so that`, `muss`, `muessen`, `soll\w*`, `kann`, `koennen`, `darf`, `sicherstellen`, `sobald`, `bis`, `damit`)
	describing   = words(`was`, `were`, `is`, `are`, `been`, `had`, `has`, `got`, `being`, `wurde\w*`, `ist`, `war\w*`, `sind`, `worden`, `hat`)
	locked       = words(`lock(?:ed|ing)? (?:it |them |the \w+ )?out`, `lock ?out`, `locked`, `loto`, `de ?energi[sz]ed?`, `isolat(?:e|ed|ing|ion)`, `spannungsfrei\w*`, `freischalt\w*`, `freigeschaltet\w*`, `gegen wiedereinschalten`)
	plainWork    = words(`check(?:s|ing)?`, `inspect`, `verify`, `look`, `confirm`, `see`, `ensure`, `make sure`, `clean`, `wipe`, `close`, `reset`, `release`, `acknowledge`, `measure`, `read`, `note`, `compare`, `replace`, `tighten`, `call`, `ask`, `report`, `inform`, `tell (?:the |an? |your )?(?:electrician|maintenance|supervisor|shift|foreman|engineer)`, `lock(?:ed)? out`, `lock ?out`, `isolate`, `wait`, `watch`, `observe`, `listen`, `test`, `examine`, `record`, `align`, `repair`, `restore`, `contact`, `wear`, `keep`, `use original`, `unlock`,
		`(?:ueber)?pruef\w*`, `kontrollier\w*`, `reinig\w*`, `wisch\w*`, `schliess\w*`, `geschlossen\w*`, `quittier\w*`, `entriegel\w*`, `mess\w*`, `ables\w*`, `ablesen`, `notier\w*`, `vergleich\w*`, `ersetz\w*`, `(?:aus)?tausch\w*`, `festzieh\w*`, `nachzieh\w*`, `ruf\w*`, `frag\w*`, `nachfragen`, `meld\w*`, `informier\w*`, `verstaendig\w*`, `freischalt\w*`, `spannungsfrei`, `sichern`, `abschliess\w*`, `wart\w*`, `beobacht\w*`, `hoer\w*`, `ausricht\w*`, `reparier\w*`, `trag\w*`, `beacht\w*`, `sicherstell\w*`, `ansehen`, `nachsehen`)
	// handling is work that changes something. Beside a safety function it is not
	// plainly harmless, whatever else the sentence asks for.
	handling = words(`stick(?:s|ing)?`, `put(?:s|ting)?`, `plac(?:e|es|ing)`, `insert(?:s|ing)?`, `feed(?:s|ing)?`, `leav(?:e|es|ing)`, `enter(?:s|ing)?`, `rais(?:e|es|ing)`, `lower(?:s|ing)?`, `parameteri[sz]\w*`, `reconfigur\w*`, `reprogram\w*`, `chang(?:e|es|ing)`, `swap(?:s|ping)?`, `mov(?:e|es|ing)`, `hang(?:s|ing)?`, `plug(?:s|ging)? in`, `climb\w*`, `reach(?:es|ing)? (?:in|under|through|over|behind)\w*`, `comment(?:s|ed|ing)? out`, `set(?:s|ting)? (?:\w+ ){1,6}to`, `run(?:s|ning)? (?:a|the) wire`, `extend(?:s|ing)?`, `increas(?:e|es|ing)`, `widen\w*`, `shorten\w*`, `glu(?:e|es|ing)`, `press(?:es|ing)? .{1,30} with`,
		`steck(?:en|e|t)`, `leg(?:en|e|t)`, `kleb(?:en|e|t)`, `speis(?:en|e|t)`, `(?:offen|stecken|laufen|draussen|weg) ?(?:zu ?)?lassen`, `umparametrier\w*`, `parametrier\w*`, `(?:an|hoch)(?:zu|ge)?heb\w*`, `verstell\w*`, `haeng(?:en|e|t)`, `um(?:zu|ge)?stell\w*`, `einsteig\w*`, `greif(?:en|e|t)`, `auskommentier\w*`, `zieh(?:en|e|t)`, `geben`, `um(?:zu|ge)?klemm\w*`, `verlaenger\w*`, `vergroesser\w*`, `erhoeh\w*`, `versetz\w*`, `verschieb\w*`)
	reporting  = words(`(?:and|or) (?:report|inform|call)`, `(?:und|oder) (?:melde\w*|ruf\w*|informier\w*)`)
	pronoun    = words(`it`, `its`, `them`, `this`, `that`, `these`, `those`, `ihn`, `ihm`, `diesen?`, `dieses`, `dessen`, `deren`)
	participle = regexp.MustCompile(`(?:ed|den|rode|brueckt|gebrueckt|iert|umgangen|geschlossen|gelegt|listet|hebelt|schaltet|klemmt|klebt|zogen|baut|getrennt|entfernt)$`)
	nounForm   = regexp.MustCompile(`^(?:jumpers?|bridges?|by ?pass(?:es)?|bruecken?|(?:draht|kabel)bruecken?|ueberbrueckung(?:en)?|manipulation(?:en)?|umgehung(?:en)?)$`)
)

// fillers may stand between a negation and the verb that it negates. Anything
// else breaks the negation: "do not hesitate to bypass".
var fillers = set(`be been being to ever attempt try trying under any circumstances circumstance simply a an the this that these or and nor even temporarily manually in case of you may should must allowed permitted open touch adjust with at reach into people anyone one somebody anybody has have had
der die das den dem des ein eine einen zu zur werden wird wurde sie oder und jemals etwa einfach fall umstaenden auf unter im an diese diesen dieses dieser durch bitte versuchen`)

func words(alternatives ...string) pattern {
	return newPattern(func() string { return `\b(?:` + strings.Join(alternatives, "|") + `)\b` })
}

func set(list string) map[string]bool {
	out := map[string]bool{}
	for w := range strings.FieldsSeq(list) {
		out[w] = true
	}
	return out
}
