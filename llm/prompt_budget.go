package llm

import "slices"

// shrink takes the least important part out of the view and reports whether
// there was one. What tells most about the first alarm goes last.
func (v *view) shrink() bool {
	for _, step := range shrinkSteps {
		if step(v) {
			return true
		}
	}
	return false
}

// shrinkSteps in the order in which parts are given up. A step takes one thing
// and says whether there was one to take.
var shrinkSteps = []func(*view) bool{
	(*view).dropRelated,
	(*view).dropMoved,
	(*view).dropSimilar,
	(*view).dropAlarm,
	(*view).dropLastTag,
	(*view).dropPassage,
	(*view).dropGap,
	(*view).dropTexts,
}

// dropRelated takes the oldest related alarm.
func (v *view) dropRelated() bool {
	if len(v.Related) == 0 {
		return false
	}
	v.Related = v.Related[1:]
	v.RelatedOmitted++
	return true
}

// dropMoved takes the tag that moved least.
func (v *view) dropMoved() bool {
	if len(v.Moved) == 0 {
		return false
	}
	v.Moved = v.Moved[:len(v.Moved)-1]
	v.TagsOmitted++
	return true
}

// dropSimilar takes the last passage that is not of this machine.
func (v *view) dropSimilar() bool {
	for i, v0 := range slices.Backward(v.Passages) {
		if v0.Scope == "similar" {
			v.Passages = append(v.Passages[:i:i], v.Passages[i+1:]...)
			return true
		}
	}
	return false
}

// dropAlarm takes the last alarm but the first.
func (v *view) dropAlarm() bool {
	if len(v.Alarms) < 2 {
		return false
	}
	v.Alarms = v.Alarms[:len(v.Alarms)-1]
	v.AlarmsOmitted++
	return true
}

// keepTags is how many of the alarm's own tags outlive the passages.
const keepTags = 4

func (v *view) dropLastTag() bool {
	if len(v.Tags) <= keepTags {
		return false
	}
	v.Tags = v.Tags[:len(v.Tags)-1]
	v.TagsOmitted++
	return true
}

func (v *view) dropPassage() bool {
	if len(v.Passages) == 0 {
		return false
	}
	v.Passages = v.Passages[:len(v.Passages)-1]
	return true
}

func (v *view) dropGap() bool {
	if len(v.Gaps) == 0 {
		return false
	}
	v.Gaps = v.Gaps[:len(v.Gaps)-1]
	return true
}

// dropTexts leaves the bare alarm: name, text and the values of its first tags.
func (v *view) dropTexts() bool {
	if len(v.Alarms) == 0 {
		return false
	}
	a := &v.Alarms[0]
	if a.Source == "" && a.LastTime == nil && len(a.Values) == 0 {
		return false
	}
	a.Source, a.LastTime, a.Values = "", nil, nil
	return true
}
