package ui

import (
	"github.com/a-h/templ"

	"github.com/sonae/sonae/auth"
	"github.com/sonae/sonae/ui/view"
)

// screen is what a page handler answers: the page and its body.
type screen struct {
	page   view.Page
	body   templ.Component
	status int // 200 when 0
}

// route is one address. Exactly one of page, do and raw is set.
//
// The right to use it stands here and nowhere else: verb and kind of resource,
// or open for what works without a log-in. {id} in the pattern is the id of a
// resource of that kind unless of says another kind.
type route struct {
	pattern string
	open    bool
	verb    auth.Verb
	kind    string
	of      string // kind of the resource that {id} names, when not kind

	page   func(*call) (screen, error)           // GET: a page
	topics []string                              // what makes the page change while it is open; nil: not live
	do     func(*call) (to string, err error)    // POST: do it, then go there
	back   func(*call) (screen, error)           // page that shows the form again when do is refused
	raw    func(*call) (handled bool, err error) // answers by itself; not handled only before the first byte
}

// sheetTopics are all that an executive sheet tells of.
func sheetTopics() []string {
	return []string{"incident", "alert", "action", "duty", "playbook", "host", "sheet"}
}

// routes is the table of all addresses that need a decision about rights.
func routes() []route {
	return []route{
		{pattern: "GET /login", open: true, page: (*call).loginPage},
		{pattern: "POST /login", open: true, do: (*call).logIn, back: (*call).loginPage},
		{pattern: "GET /join/{token}", open: true, page: (*call).joinPage},
		{pattern: "POST /join/{token}", open: true, do: (*call).join, back: (*call).joinPage},
		{pattern: "POST /logout", open: true, do: (*call).logOut},

		{pattern: "GET /{$}", verb: auth.View, kind: "page", page: (*call).nowPage, topics: []string{"alert", "incident", "action", "duty", "host"}},
		{pattern: "POST /drill", verb: auth.Practise, kind: "page", do: (*call).drill, back: (*call).nowPage},

		{pattern: "GET /alerts", verb: auth.View, kind: "alert", page: (*call).alerts, topics: []string{"alert"}},
		{pattern: "GET /alerts/{id}", verb: auth.View, kind: "alert", page: (*call).alert, topics: []string{"alert"}},
		{pattern: "POST /alerts/{id}/ack", verb: auth.Handle, kind: "alert", do: (*call).ack, back: (*call).alert},
		{pattern: "POST /alerts/{id}/close", verb: auth.Handle, kind: "alert", do: (*call).closeAlert, back: (*call).alert},
		{pattern: "POST /alerts/{id}/incident", verb: auth.Handle, kind: "alert", do: (*call).makeIncident, back: (*call).alert},

		{pattern: "GET /incidents", verb: auth.View, kind: "incident", page: (*call).incidents, topics: []string{"incident", "duty"}},
		{pattern: "POST /incidents", verb: auth.Handle, kind: "incident", do: (*call).openIncident, back: (*call).incidents},
		{pattern: "GET /incidents/{id}", verb: auth.View, kind: "incident", page: (*call).room, topics: []string{"incident", "alert", "action", "evidence", "duty", "document", "playbook", "task", "notify", "decision"}},
		{pattern: "POST /incidents/{id}/entries", verb: auth.Handle, kind: "entry", of: "incident", do: (*call).write, back: (*call).room},
		{pattern: "POST /incidents/{id}/command", verb: auth.Handle, kind: "incident", do: (*call).command, back: (*call).room},
		{pattern: "POST /incidents/{id}/state", verb: auth.Handle, kind: "incident", do: (*call).move, back: (*call).room},
		{pattern: "POST /incidents/{id}/severity", verb: auth.Handle, kind: "incident", do: (*call).setSeverity, back: (*call).room},
		{pattern: "POST /incidents/{id}/scope", verb: auth.Handle, kind: "incident", do: (*call).setScope, back: (*call).room},
		{pattern: "GET /incidents/{id}/facts", verb: auth.Report, kind: "incident", page: (*call).facts},
		{pattern: "POST /incidents/{id}/facts", verb: auth.Report, kind: "incident", do: (*call).setFacts, back: (*call).facts},
		{pattern: "GET /incidents/{id}/duties", verb: auth.View, kind: "report", of: "incident", page: (*call).duties, topics: []string{"duty"}},
		{pattern: "POST /incidents/{id}/duties", verb: auth.Report, kind: "report", of: "incident", do: (*call).decideDuty, back: (*call).duties},
		{pattern: "POST /incidents/{id}/exemption", verb: auth.Approve, kind: "report", of: "incident", do: (*call).signExemption, back: (*call).duties},
		{pattern: "GET /authorities", verb: auth.View, kind: "report", page: (*call).authorities},
		{pattern: "POST /authorities/{authority}", verb: auth.Administer, kind: "report", do: (*call).saveAuthority, back: (*call).authorities},
		{pattern: "POST /incidents/{id}/runs", verb: auth.Handle, kind: "incident", do: (*call).beginRun, back: (*call).room},
		{pattern: "GET /incidents/{id}/runs/{run}", verb: auth.View, kind: "incident", page: (*call).runPage, topics: []string{"playbook", "action"}},
		{pattern: "POST /incidents/{id}/runs/{run}/steps/{visit}", verb: auth.Handle, kind: "incident", do: (*call).reportStep, back: (*call).runPage},
		{pattern: "POST /incidents/{id}/runs/{run}/cancel", verb: auth.Handle, kind: "incident", do: (*call).cancelRun, back: (*call).runPage},
		{pattern: "GET /incidents/{id}/runs/{run}/paper", verb: auth.Handle, kind: "incident", page: (*call).paper},
		{pattern: "POST /incidents/{id}/runs/{run}/paper", verb: auth.Handle, kind: "incident", do: (*call).keyIn, back: (*call).paper},
		{pattern: "GET /incidents/{id}/decision", verb: auth.View, kind: "incident", page: (*call).decisionPage, topics: []string{"decision", "incident", "alert", "action", "duty"}},
		{pattern: "POST /incidents/{id}/decisions", verb: auth.Handle, kind: "incident", do: (*call).recordDecision, back: (*call).decisionPage},
		{pattern: "POST /incidents/{id}/decisions/{decision}/dissent", verb: auth.Handle, kind: "incident", do: (*call).dissentFrom, back: (*call).decisionPage},
		{pattern: "POST /incidents/{id}/decisions/{decision}/approve", verb: auth.Approve, kind: "decision", of: "incident", do: (*call).approveDecision, back: (*call).decisionPage},
		{pattern: "GET /decision-criteria", verb: auth.View, kind: "decision", page: (*call).criteria},
		{pattern: "POST /decision-criteria", verb: auth.Administer, kind: "decision", do: (*call).saveCriteria, back: (*call).criteria},
		{pattern: "GET /tasks", verb: auth.View, kind: "page", page: (*call).myTasks, topics: []string{"task", "incident"}},
		{pattern: "GET /roles", verb: auth.Administer, kind: "task", page: (*call).roleWords},
		{pattern: "POST /roles/{role}", verb: auth.Administer, kind: "task", do: (*call).renameRole, back: (*call).roleWords},
		{pattern: "GET /incidents/{id}/tasks", verb: auth.View, kind: "incident", page: (*call).tasks, topics: []string{"task"}},
		{pattern: "POST /incidents/{id}/tasks", verb: auth.Handle, kind: "incident", do: (*call).addTask, back: (*call).tasks},
		{pattern: "POST /incidents/{id}/tasks/{task}/state", verb: auth.Handle, kind: "incident", do: (*call).moveTask, back: (*call).tasks},
		{pattern: "POST /incidents/{id}/tasks/{task}/owner", verb: auth.Handle, kind: "incident", do: (*call).giveTask, back: (*call).tasks},
		{pattern: "GET /incidents/{id}/team", verb: auth.View, kind: "task", of: "incident", page: (*call).team, topics: []string{"task"}},
		{pattern: "POST /incidents/{id}/team", verb: auth.Handle, kind: "incident", do: (*call).assign, back: (*call).team},
		{pattern: "POST /incidents/{id}/team/{post}/end", verb: auth.Handle, kind: "incident", do: (*call).leavePost, back: (*call).team},
		{pattern: "GET /incidents/{id}/rota", verb: auth.View, kind: "task", of: "incident", page: (*call).rota},
		{pattern: "POST /incidents/{id}/hours", verb: auth.Handle, kind: "incident", do: (*call).beginStay, back: (*call).rota},
		{pattern: "POST /incidents/{id}/hours/{stay}/end", verb: auth.Handle, kind: "incident", do: (*call).endStay, back: (*call).rota},
		{pattern: "POST /incidents/{id}/hours/{stay}/correct", verb: auth.Handle, kind: "incident", do: (*call).correctStay, back: (*call).rota},
		{pattern: "GET /incidents/{id}/hours.csv", verb: auth.View, kind: "task", of: "incident", raw: (*call).hoursFile},
		{pattern: "GET /incidents/{id}/handovers", verb: auth.View, kind: "task", of: "incident", page: (*call).handovers},
		{pattern: "POST /incidents/{id}/handovers", verb: auth.Handle, kind: "incident", do: (*call).offerHandover, back: (*call).handovers},
		{pattern: "GET /incidents/{id}/handovers/{handover}", verb: auth.View, kind: "task", of: "incident", page: (*call).handover},
		{pattern: "POST /incidents/{id}/handovers/{handover}/sign", verb: auth.Handle, kind: "incident", do: (*call).signHandover, back: (*call).handover},
		{pattern: "POST /incidents/{id}/handovers/{handover}/refuse", verb: auth.Handle, kind: "incident", do: (*call).refuseHandover, back: (*call).handover},
		{pattern: "POST /incidents/{id}/handovers/{handover}/withdraw", verb: auth.Handle, kind: "incident", do: (*call).withdrawHandover, back: (*call).handover},
		{pattern: "POST /incidents/{id}/documents", verb: auth.Report, kind: "report", of: "incident", do: (*call).makeDocument, back: (*call).documents},
		{pattern: "GET /incidents/{id}/documents", verb: auth.View, kind: "report", of: "incident", page: (*call).documents, topics: []string{"document", "duty"}},
		{pattern: "POST /incidents/{id}/documents/{document}/approve", verb: auth.Report, kind: "report", of: "incident", do: (*call).approveDocument, back: (*call).documents},
		{pattern: "GET /incidents/{id}/documents/{document}/files/{format}", verb: auth.View, kind: "report", of: "incident", raw: (*call).documentFile, back: (*call).documents},
		{pattern: "GET /incidents/{id}/documents/{document}/proofs/{format}", verb: auth.View, kind: "report", of: "incident", raw: (*call).documentProof, back: (*call).documents},
		{pattern: "GET /incidents/{id}/particulars", verb: auth.Report, kind: "report", of: "incident", page: (*call).particulars},
		{pattern: "POST /incidents/{id}/particulars", verb: auth.Report, kind: "report", of: "incident", do: (*call).setParticulars, back: (*call).particulars},
		{pattern: "GET /incidents/{id}/documents/{document}", verb: auth.View, kind: "report", of: "incident", raw: (*call).document},
		{pattern: "GET /incidents/{id}/sheet", verb: auth.View, kind: "report", of: "incident", page: (*call).sheetPage, topics: sheetTopics()},
		{pattern: "GET /incidents/{id}/sheet/paper", verb: auth.View, kind: "report", of: "incident", raw: (*call).sheetPaper},
		{pattern: "POST /incidents/{id}/sheets", verb: auth.Report, kind: "report", of: "incident", do: (*call).keepSheet, back: (*call).sheetPage},
		{pattern: "GET /incidents/{id}/sheets/{sheet}", verb: auth.View, kind: "report", of: "incident", raw: (*call).keptSheet},
		{pattern: "GET /executive", verb: auth.View, kind: "report", page: (*call).executive, topics: sheetTopics()},
		{pattern: "GET /incidents/{id}/isolate", verb: auth.Request, kind: "action", of: "incident", page: (*call).plan},
		{pattern: "POST /incidents/{id}/isolations", verb: auth.Request, kind: "action", of: "incident", do: (*call).requestIsolation, back: (*call).plan},
		{pattern: "GET /incidents/{id}/block", verb: auth.Request, kind: "action", of: "incident", page: (*call).planBlock},
		{pattern: "POST /incidents/{id}/blocks", verb: auth.Request, kind: "action", of: "incident", do: (*call).requestBlock, back: (*call).planBlock},
		{pattern: "GET /incidents/{id}/contain", verb: auth.Request, kind: "action", of: "incident", page: (*call).contain},
		{pattern: "POST /incidents/{id}/containments", verb: auth.Request, kind: "action", of: "incident", do: (*call).requestContainment, back: (*call).contain},
		{pattern: "POST /incidents/{id}/bags", verb: auth.Preserve, kind: "evidence", of: "incident", do: (*call).preserve, back: (*call).room},

		{pattern: "GET /incidents/{id}/cut", verb: auth.Request, kind: "action", of: "incident", page: (*call).planCut},
		{pattern: "POST /incidents/{id}/cuts", verb: auth.Request, kind: "action", of: "incident", do: (*call).requestCut, back: (*call).planCut},
		{pattern: "GET /cuttings/{id}", verb: auth.View, kind: "action", of: "cutting", page: (*call).cutting, topics: []string{"action"}},
		{pattern: "POST /cuttings/{id}/approve", verb: auth.Approve, kind: "action", of: "cutting", do: (*call).approveCut, back: (*call).cutting},
		{pattern: "POST /cuttings/{id}/refuse", verb: auth.Approve, kind: "action", of: "cutting", do: (*call).refuseCut, back: (*call).cutting},
		{pattern: "POST /cuttings/{id}/go-on", verb: auth.Release, kind: "action", of: "cutting", do: (*call).goOnCut, back: (*call).cutting},
		{pattern: "POST /cuttings/{id}/release", verb: auth.Release, kind: "action", of: "cutting", do: (*call).releaseCut, back: (*call).cutting},

		{pattern: "GET /incidents/{id}/paper", verb: auth.View, kind: "entry", of: "incident", page: (*call).latePaper},
		{pattern: "POST /incidents/{id}/paper/memos", verb: auth.Handle, kind: "entry", of: "incident", do: (*call).takeMemo, back: (*call).latePaper},
		{pattern: "POST /incidents/{id}/paper/calls/{call}", verb: auth.Handle, kind: "entry", of: "incident", do: (*call).calledBack, back: (*call).latePaper},
		{pattern: "POST /incidents/{id}/paper/pictures", verb: auth.Handle, kind: "entry", of: "incident", do: (*call).addPicture, back: (*call).latePaper},
		{pattern: "GET /incidents/{id}/paper/pictures/{picture}", verb: auth.View, kind: "entry", of: "incident", raw: (*call).picture},
		{pattern: "GET /incidents/{id}/paper/template.csv", verb: auth.View, kind: "entry", of: "incident", raw: (*call).template},
		{pattern: "POST /incidents/{id}/paper/sheets", verb: auth.Handle, kind: "entry", of: "incident", do: (*call).addPaperLog, back: (*call).latePaper},
		{pattern: "GET /incidents/{id}/paper/sheets/{sheet}", verb: auth.View, kind: "entry", of: "incident", page: (*call).paperLog},
		{pattern: "POST /incidents/{id}/paper/sheets/{sheet}", verb: auth.Handle, kind: "entry", of: "incident", do: (*call).importPaperLog, back: (*call).paperLog},
		{pattern: "GET /incidents/{id}/paper/sheets/{sheet}/file", verb: auth.View, kind: "entry", of: "incident", raw: (*call).paperLogFile},

		{pattern: "GET /incidents/{id}/cause", verb: auth.View, kind: "incident", page: (*call).causes},
		{pattern: "POST /incidents/{id}/cause/factors", verb: auth.Handle, kind: "incident", do: (*call).addFactor, back: (*call).causes},
		{pattern: "POST /incidents/{id}/cause/factors/{factor}", verb: auth.Handle, kind: "incident", do: (*call).reviseFactor, back: (*call).causes},
		{pattern: "POST /incidents/{id}/cause/factors/{factor}/withdraw", verb: auth.Handle, kind: "incident", do: (*call).withdrawFactor, back: (*call).causes},
		{pattern: "POST /incidents/{id}/cause/interviews", verb: auth.Report, kind: "interview", of: "incident", do: (*call).addInterview, back: (*call).causes},
		{pattern: "POST /incidents/{id}/cause/measures", verb: auth.Handle, kind: "incident", do: (*call).addMeasure, back: (*call).causes},
		{pattern: "POST /incidents/{id}/cause/measures/{measure}", verb: auth.Handle, kind: "incident", do: (*call).goMeasure, back: (*call).causes},
		{pattern: "POST /incidents/{id}/cause/lessons", verb: auth.Handle, kind: "incident", do: (*call).addLesson, back: (*call).causes},
		{pattern: "POST /incidents/{id}/cause/lessons/{lesson}", verb: auth.Handle, kind: "incident", do: (*call).answerLesson, back: (*call).causes},
		{pattern: "GET /measures", verb: auth.View, kind: "incident", page: (*call).measures},

		{pattern: "GET /actions", verb: auth.View, kind: "action", page: (*call).actions, topics: []string{"action"}},
		{pattern: "GET /actions/{id}", verb: auth.View, kind: "action", page: (*call).action, topics: []string{"action"}},
		{pattern: "GET /actions/{id}/approve", verb: auth.Approve, kind: "action", page: (*call).approvePage},
		{pattern: "POST /actions/{id}/approve", verb: auth.Approve, kind: "action", do: (*call).approve, back: (*call).approvePage},
		{pattern: "POST /actions/{id}/refuse", verb: auth.Approve, kind: "action", do: (*call).refuse, back: (*call).approvePage},
		{pattern: "POST /actions/{id}/release", verb: auth.Release, kind: "action", do: (*call).release, back: (*call).action},
		{pattern: "POST /actions/{id}/keep", verb: auth.Release, kind: "action", do: (*call).keepFrozen, back: (*call).action},
		{pattern: "POST /actions/{id}/kill", verb: auth.View, kind: "action", do: (*call).kill, back: (*call).action},
		{pattern: "POST /actions/{id}/cancel", verb: auth.Preserve, kind: "evidence", of: "action", do: (*call).cancelCollection, back: (*call).action},
		{pattern: "GET /actions/{id}/code", verb: auth.Release, kind: "action", page: (*call).code},

		{pattern: "GET /policies", verb: auth.View, kind: "policy", page: (*call).policies},
		{pattern: "GET /policies/new", verb: auth.Request, kind: "policy", page: (*call).policyForm},
		{pattern: "POST /policies", verb: auth.View, kind: "policy", raw: (*call).savePolicy, back: (*call).policyForm},
		{pattern: "GET /policies/{policy}", verb: auth.View, kind: "policy", page: (*call).policy},
		{pattern: "POST /policies/{policy}/approve", verb: auth.View, kind: "policy", do: (*call).approvePolicy, back: (*call).policy},
		{pattern: "POST /policies/{policy}/refuse", verb: auth.View, kind: "policy", do: (*call).refusePolicy, back: (*call).policy},
		{pattern: "POST /policies/{policy}/end", verb: auth.View, kind: "policy", do: (*call).endPolicy, back: (*call).policy},

		{pattern: "GET /playbooks", verb: auth.View, kind: "playbook", page: (*call).playbooks},
		{pattern: "POST /playbooks", verb: auth.Handle, kind: "playbook", do: (*call).importPlaybook, back: (*call).playbooks},
		{pattern: "GET /playbooks/{book}", verb: auth.View, kind: "playbook", page: (*call).playbook},
		{pattern: "GET /playbooks/{book}/cacao", verb: auth.View, kind: "playbook", raw: (*call).exportPlaybook},

		{pattern: "GET /search", verb: auth.View, kind: "event", page: (*call).searchPage},
		{pattern: "GET /search/stream", verb: auth.View, kind: "event", raw: (*call).searchStream},
		{pattern: "GET /search/event", verb: auth.View, kind: "event", raw: (*call).eventPage},
		{pattern: "GET /search/field", verb: auth.View, kind: "event", raw: (*call).fieldPage},
		{pattern: "GET /search/suggest", verb: auth.View, kind: "event", raw: (*call).suggest},
		{pattern: "GET /entity", verb: auth.View, kind: "event", page: (*call).entity},
		{pattern: "POST /search/export", verb: auth.Preserve, kind: "event", raw: (*call).exportSearch, back: (*call).searchPage},
		{pattern: "POST /search/evidence", verb: auth.Preserve, kind: "event", do: (*call).takeEvents, back: (*call).searchPage},
		{pattern: "GET /searches", verb: auth.View, kind: "event", page: (*call).searches},
		{pattern: "POST /searches", verb: auth.View, kind: "event", do: (*call).saveSearch, back: (*call).searchPage},
		{pattern: "POST /searches/forget", verb: auth.View, kind: "event", do: (*call).forgetSearches},
		{pattern: "POST /searches/{saved}/name", verb: auth.View, kind: "event", do: (*call).renameSearch, back: (*call).searches},
		{pattern: "POST /searches/{saved}/share", verb: auth.View, kind: "event", do: (*call).shareSearch, back: (*call).searches},
		{pattern: "POST /searches/{saved}/delete", verb: auth.View, kind: "event", do: (*call).deleteSearch, back: (*call).searches},
		{pattern: "GET /search/rule", verb: auth.View, kind: "event", page: (*call).rulePage},
		{pattern: "POST /search/rule", verb: auth.View, kind: "event", raw: (*call).draftRule, back: (*call).rulePage},
		{pattern: "POST /search/rule/test", verb: auth.View, kind: "event", raw: (*call).testRule, back: (*call).rulePage},
		{pattern: "POST /search/rule/enable", verb: auth.Handle, kind: "rule", do: (*call).enableRule, back: (*call).rulePage},
		{pattern: "GET /network", verb: auth.View, kind: "event", page: (*call).network, topics: []string{"flow"}},
		{pattern: "GET /network/host", verb: auth.View, kind: "event", page: (*call).party},
		{pattern: "GET /network/flows", verb: auth.View, kind: "event", page: (*call).connections},
		{pattern: "GET /network/flow", verb: auth.View, kind: "event", page: (*call).connection},
		{pattern: "POST /network/flow/packets", verb: auth.Preserve, kind: "event", do: (*call).orderPackets, back: (*call).connection},
		{pattern: "GET /network/sensors", verb: auth.View, kind: "host", page: (*call).sensors, topics: []string{"host"}},
		{pattern: "GET /rules", verb: auth.View, kind: "rule", page: (*call).rules, topics: []string{"rule"}},
		{pattern: "GET /rules/{rule}", verb: auth.View, kind: "rule", page: (*call).rule, topics: []string{"rule", "trial", "alert"}},
		{pattern: "POST /rules/{rule}/test", verb: auth.View, kind: "event", do: (*call).tryRule, back: (*call).rule},
		{pattern: "POST /rules/{rule}/test/stop", verb: auth.View, kind: "event", do: (*call).stopTrial, back: (*call).rule},
		{pattern: "POST /rules/{rule}/disable", verb: auth.Handle, kind: "rule", do: (*call).disableRule, back: (*call).rule},
		{pattern: "POST /rules/{rule}/enable", verb: auth.Handle, kind: "rule", do: (*call).enableAgain, back: (*call).rule},
		{pattern: "POST /rules/{rule}/changes", verb: auth.Handle, kind: "rule", do: (*call).changeRule, back: (*call).rule},
		{pattern: "POST /rules/{rule}/changes/{change}/end", verb: auth.Handle, kind: "rule", do: (*call).endChange, back: (*call).rule},

		{pattern: "GET /lists", verb: auth.View, kind: "rule", page: (*call).lists, topics: []string{"threat"}},
		{pattern: "POST /lists", verb: auth.Administer, kind: "rule", do: (*call).uploadList, back: (*call).lists},
		{pattern: "GET /list-drafts/{draft}", verb: auth.Administer, kind: "rule", page: (*call).listDraft},
		{pattern: "POST /list-drafts/{draft}", verb: auth.Administer, kind: "rule", do: (*call).importList, back: (*call).listDraft},
		{pattern: "POST /lists/{list}/end", verb: auth.Administer, kind: "rule", do: (*call).endList, back: (*call).lists},
		{pattern: "POST /lists/{list}/search", verb: auth.Administer, kind: "rule", do: (*call).searchList, back: (*call).lists},

		{pattern: "GET /evidence", verb: auth.View, kind: "evidence", page: (*call).bags, topics: []string{"evidence"}},
		{pattern: "GET /evidence/{id}", verb: auth.View, kind: "evidence", page: (*call).bag, topics: []string{"evidence"}},
		{pattern: "POST /evidence/{id}/zip", verb: auth.Preserve, kind: "evidence", raw: (*call).zip, back: (*call).bag},
		{pattern: "POST /evidence/{id}/witness", verb: auth.Preserve, kind: "evidence", do: (*call).attend, back: (*call).bag},
		{pattern: "POST /evidence/{id}/packets", verb: auth.Preserve, kind: "evidence", raw: (*call).packets, back: (*call).bag},

		{pattern: "GET /hosts", verb: auth.View, kind: "host", page: (*call).hosts, topics: []string{"host", "action"}},
		{pattern: "GET /hosts/{id}", verb: auth.View, kind: "host", page: (*call).host, topics: []string{"host", "alert", "action"}},
		{pattern: "POST /hosts/{id}", verb: auth.Administer, kind: "host", do: (*call).saveHost, back: (*call).host},
		{pattern: "POST /sites", verb: auth.Administer, kind: "site", do: (*call).saveSite, back: (*call).hosts},
		{pattern: "POST /tokens", verb: auth.Administer, kind: "host", raw: (*call).makeToken, back: (*call).hosts},
		{pattern: "POST /tokens/{token}/revoke", verb: auth.Administer, kind: "host", do: (*call).revokeToken, back: (*call).hosts},

		{pattern: "GET /health", verb: auth.View, kind: "host", page: (*call).health, topics: []string{"alert"}},
		{pattern: "GET /health/{measure}", verb: auth.Administer, kind: "host", page: (*call).limit},
		{pattern: "POST /health/{measure}", verb: auth.Administer, kind: "host", do: (*call).saveLimit, back: (*call).limit},
		{pattern: "POST /health/{measure}/drop", verb: auth.Administer, kind: "host", do: (*call).dropLimit, back: (*call).limit},
		{pattern: "POST /windows", verb: auth.Administer, kind: "host", do: (*call).planWindow, back: (*call).health},
		{pattern: "POST /windows/{window}/end", verb: auth.Administer, kind: "host", do: (*call).endWindow, back: (*call).health},

		{pattern: "GET /devices", verb: auth.Administer, kind: "host", page: (*call).devices},
		{pattern: "GET /devices/new", verb: auth.Administer, kind: "host", page: (*call).newDevice},
		{pattern: "POST /devices", verb: auth.Administer, kind: "host", do: (*call).saveDevice, back: (*call).newDevice},
		{pattern: "POST /devices/limits", verb: auth.Administer, kind: "host", do: (*call).saveLimits, back: (*call).devices},
		{pattern: "POST /devices/cut", verb: auth.Administer, kind: "host", do: (*call).saveCut, back: (*call).devices},
		{pattern: "GET /devices/{device}", verb: auth.Administer, kind: "host", page: (*call).device},
		{pattern: "POST /devices/{device}", verb: auth.Administer, kind: "host", do: (*call).saveDevice, back: (*call).device},
		{pattern: "POST /devices/{device}/test", verb: auth.Administer, kind: "host", do: (*call).testDevice, back: (*call).device},
		{pattern: "POST /devices/{device}/remove", verb: auth.Administer, kind: "host", do: (*call).removeDevice, back: (*call).device},

		{pattern: "GET /notify", verb: auth.View, kind: "notify", page: (*call).notices, topics: []string{"notify"}},
		{pattern: "POST /notify/calls", verb: auth.Handle, kind: "notify", do: (*call).beginCall, back: (*call).notices},
		{pattern: "GET /notify/calls/{call}", verb: auth.View, kind: "notify", page: (*call).calling, topics: []string{"notify"}},
		{pattern: "POST /notify/calls/{call}/answer", verb: auth.Handle, kind: "notify", do: (*call).answerCall, back: (*call).calling},
		{pattern: "POST /notify/calls/{call}/phone", verb: auth.Handle, kind: "notify", do: (*call).telephoned, back: (*call).calling},
		{pattern: "GET /notify/settings", verb: auth.Administer, kind: "notify", page: (*call).notifySettings},
		{pattern: "GET /notify/contacts/{person}", verb: auth.View, kind: "page", page: (*call).contact},
		{pattern: "POST /notify/contacts/{person}", verb: auth.View, kind: "page", do: (*call).saveContact, back: (*call).contact},
		{pattern: "POST /notify/shifts", verb: auth.Administer, kind: "notify", do: (*call).addShift, back: (*call).notifySettings},
		{pattern: "POST /notify/shifts/{shift}/remove", verb: auth.Administer, kind: "notify", do: (*call).removeShift, back: (*call).notifySettings},
		{pattern: "GET /notify/chains/{chain}", verb: auth.Administer, kind: "notify", page: (*call).chain},
		{pattern: "POST /notify/chains/{chain}", verb: auth.Administer, kind: "notify", do: (*call).saveChain, back: (*call).chain},
		{pattern: "POST /notify/chains/{chain}/remove", verb: auth.Administer, kind: "notify", do: (*call).removeChain, back: (*call).chain},
		{pattern: "GET /notify/chains/{chain}/tree", verb: auth.Handle, kind: "notify", page: (*call).phoneTree},
		{pattern: "GET /notify/channels/{channel}", verb: auth.Administer, kind: "notify", page: (*call).channel},
		{pattern: "POST /notify/channels/{channel}", verb: auth.Administer, kind: "notify", do: (*call).saveChannel, back: (*call).channel},
		{pattern: "POST /notify/channels/{channel}/test", verb: auth.Administer, kind: "notify", do: (*call).testChannel, back: (*call).channel},
		{pattern: "POST /notify/channels/{channel}/remove", verb: auth.Administer, kind: "notify", do: (*call).removeChannel, back: (*call).channel},

		{pattern: "GET /protect/repositories", verb: auth.ProtectSee, kind: "protect", page: (*call).vaults, topics: []string{"vault"}},
		{pattern: "GET /protect/repositories/{agent}", verb: auth.ProtectSee, kind: "protect", page: (*call).vault, topics: []string{"vault"}},
		{pattern: "POST /protect/repositories/{agent}/quota", verb: auth.ProtectChange, kind: "protect", do: (*call).setVaultQuota, back: (*call).vault},
		{pattern: "POST /protect/repositories/{agent}/read", verb: auth.ProtectChange, kind: "protect", do: (*call).readVault, back: (*call).vault},
		{pattern: "GET /protect/repositories/{agent}/sheet", verb: auth.Administer, kind: "protect", page: (*call).vaultSheet},
		{pattern: "POST /protect/repositories/{agent}/sheet", verb: auth.Administer, kind: "protect", raw: (*call).openVaultSheet, back: (*call).vault},
		{pattern: "POST /protect/repositories/{agent}/passes", verb: auth.ProtectRestore, kind: "protect", do: (*call).askPass, back: (*call).vault},
		{pattern: "POST /protect/repositories/{agent}/prunes", verb: auth.ProtectChange, kind: "protect", do: (*call).askPrune, back: (*call).vault},
		{pattern: "POST /protect/passes/{pass}/approve", verb: auth.Approve, kind: "protect", do: (*call).approvePass, back: (*call).vaults},
		{pattern: "POST /protect/passes/{pass}/refuse", verb: auth.ProtectSee, kind: "protect", do: (*call).refusePass, back: (*call).vaults},
		{pattern: "POST /protect/passes/{pass}/end", verb: auth.Release, kind: "protect", do: (*call).endPass, back: (*call).vaults},
		{pattern: "POST /protect/passes/{pass}/token", verb: auth.ProtectRestore, kind: "protect", raw: (*call).takeToken, back: (*call).vaults},
		{pattern: "POST /protect/prunes/{prune}/approve", verb: auth.Approve, kind: "protect", do: (*call).approvePrune, back: (*call).vaults},
		{pattern: "POST /protect/prunes/{prune}/stop", verb: auth.Release, kind: "protect", do: (*call).stopPrune, back: (*call).vaults},
		{pattern: "POST /protect/cuts", verb: auth.Request, kind: "protect", do: (*call).cutVaults, back: (*call).vaults},
		{pattern: "POST /protect/cuts/{cut}/release", verb: auth.Release, kind: "protect", do: (*call).releaseVaults, back: (*call).vaults},
		{pattern: "POST /protect/recipients", verb: auth.Administer, kind: "protect", do: (*call).setRecipients, back: (*call).vaults},

		{pattern: "GET /settings", verb: auth.Administer, kind: "person", page: (*call).settings},
		{pattern: "POST /settings/reporter", verb: auth.Administer, kind: "report", do: (*call).setReporter, back: (*call).settings},
		{pattern: "POST /people", verb: auth.Administer, kind: "person", raw: (*call).invite, back: (*call).settings},
		{pattern: "POST /people/{id}/renew", verb: auth.Administer, kind: "person", raw: (*call).renew, back: (*call).settings},
		{pattern: "POST /people/{id}/roles", verb: auth.Administer, kind: "person", do: (*call).setRoles, back: (*call).settings},
		{pattern: "POST /people/{id}/disable", verb: auth.Administer, kind: "person", do: (*call).disable, back: (*call).settings},
		{pattern: "POST /people/{id}/enable", verb: auth.Administer, kind: "person", do: (*call).enable, back: (*call).settings},

		{pattern: "GET /protect/snapshots", verb: auth.ProtectSee, kind: "protect", page: (*call).anomalies},
		{pattern: "GET /protect/snapshots/{id}", verb: auth.ProtectSee, kind: "protect", of: "series", page: (*call).anomalySeries},
		{pattern: "POST /protect/snapshots/{id}/clean", verb: auth.ProtectChange, kind: "protect", of: "series", do: (*call).confirmClean, back: (*call).anomalySeries},
		{pattern: "GET /protect/snapshots/{id}/{snapshot}", verb: auth.ProtectSee, kind: "protect", of: "series", page: (*call).anomalySnapshot},
		{pattern: "POST /protect/snapshots/{id}/{snapshot}/answer", verb: auth.ProtectChange, kind: "protect", of: "series", do: (*call).answerSnapshot, back: (*call).anomalySnapshot},
		{pattern: "GET /protect/snapshots/{id}/{snapshot}/loss", verb: auth.ProtectSee, kind: "protect", of: "series", page: (*call).anomalyLoss},

		{pattern: "GET /audit", verb: auth.Audit, kind: "page", page: (*call).audit, topics: []string{"record"}},
	}
}
