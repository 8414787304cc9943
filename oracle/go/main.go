// Casbin for Go as an oracle: it answers what it is asked, one JSON object on a line each.
//
// A line in holds a model, a policy and requests; a line out holds why they do not load, or an answer for each request:
// "allow", "deny", or what went wrong.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/casbin/casbin/v2"
	"github.com/casbin/casbin/v2/model"
	"github.com/casbin/casbin/v2/persist"
	"github.com/casbin/casbin/v2/util"
)

type question struct {
	Model    string          `json:"model"`
	Policy   string          `json:"policy"`
	Context  string          `json:"context"`
	Requests [][]interface{} `json:"requests"`
}

type answer struct {
	Refused string   `json:"refused,omitempty"`
	Answers []string `json:"answers,omitempty"`
}

// text loads the lines of a policy as Casbin's file adapter does.
type text struct{ persist.Adapter }

var policy string

func (text) LoadPolicy(m model.Model) error {
	for _, line := range strings.Split(policy, "\n") {
		if err := persist.LoadPolicyLine(strings.TrimSpace(line), m); err != nil {
			return err
		}
	}
	return nil
}

func load(q question) (e *casbin.Enforcer, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	m, err := model.NewModelFromString(q.Model)
	if err != nil {
		return nil, err
	}
	policy = q.Policy
	if e, err = casbin.NewEnforcer(m, text{}); err != nil {
		return nil, err
	}
	// A link of `_, _, (_, _)` holds between its times where the host says so.
	for name, definition := range e.GetModel()["g"] {
		if definition.CondRM == nil {
			continue
		}
		for _, link := range definition.Policy {
			e.AddNamedLinkConditionFunc(name, link[0], link[1], util.TimeMatchFunc)
			e.SetNamedLinkConditionFuncParams(name, link[0], link[1], link[2:4]...)
		}
	}
	return e, nil
}

func ask(e *casbin.Enforcer, q question, request []interface{}) (said string) {
	defer func() {
		if r := recover(); r != nil {
			said = fmt.Sprintf("panic: %v", r)
		}
	}()
	if q.Context != "" {
		request = append([]interface{}{casbin.NewEnforceContext(q.Context)}, request...)
	}
	allowed, err := e.Enforce(request...)
	switch {
	case err != nil:
		line, _, _ := strings.Cut(err.Error(), "\n")
		return "error: " + line
	case allowed:
		return "allow"
	default:
		return "deny"
	}
}

func answerTo(q question) answer {
	e, err := load(q)
	if err != nil {
		return answer{Refused: err.Error()}
	}
	answers := make([]string, 0, len(q.Requests))
	for _, request := range q.Requests {
		answers = append(answers, ask(e, q, request))
	}
	return answer{Answers: answers}
}

func main() {
	in, out := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	for in.More() {
		var q question
		if err := in.Decode(&q); err != nil {
			fmt.Fprintln(os.Stderr, "expected a question as JSON:", err)
			os.Exit(2)
		}
		if err := out.Encode(answerTo(q)); err != nil {
			os.Exit(1)
		}
	}
}
