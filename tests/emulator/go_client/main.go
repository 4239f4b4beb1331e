// Every method of IBM's Go client of Key Protect, called against the emulator. Prints one JSON object:
// what was done -> what came of it. test_go_client.py says what must have come of it.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"reflect"
	"strings"

	kp "github.com/IBM/keyprotect-go-client"
	"github.com/IBM/keyprotect-go-client/iam"
)

// run holds the outcomes, and the names of the methods that were called.
type run struct {
	url      string
	outcomes map[string]any
	called   map[string]bool
}

// step calls one method. The name before the first blank of what is the method's.
func (r *run) step(what string, call func() (any, error)) {
	r.called[strings.Fields(what)[0]] = true
	defer func() {
		if fault := recover(); fault != nil { // the client indexes answers without a look at their length
			r.outcomes[what] = fmt.Sprint("panic: ", fault)
		}
	}()
	value, err := call()
	if err != nil {
		value = text(err)
	}
	r.outcomes[what] = value
}

// do is a step whose method returns an error only.
func (r *run) do(what string, call func() error) {
	r.step(what, func() (any, error) { return "done", call() })
}

// text is the code of a refusal, checked to stand in its message too: other clients show the message only.
func text(err error) string {
	var refused *kp.Error
	if !errors.As(err, &refused) {
		return err.Error()
	}
	if len(refused.Reasons) == 0 {
		return fmt.Sprint(refused.StatusCode, " ", refused.Message)
	}
	code := refused.Reasons[0].Code
	if !strings.HasSuffix(refused.Message, "("+code+")") {
		return "the message does not end in the code: " + refused.Message
	}
	return fmt.Sprint(refused.StatusCode, " ", code)
}

// wait moves the emulator's clock.
func (r *run) wait(seconds int) {
	body := strings.NewReader(fmt.Sprintf(`{"advance_seconds": %d}`, seconds))
	answer, err := http.Post(r.url+"/emulator/clock", "application/json", body)
	if err != nil || answer.StatusCode != http.StatusOK {
		log.Fatal("the clock: ", err, answer)
	}
	answer.Body.Close()
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func pointer[T any](value T) *T { return &value }

// uncalled are the client's methods that no step has called.
func (r *run) uncalled(client *kp.Client) []string {
	missing := []string{}
	for kind, i := reflect.TypeOf(client), 0; i < kind.NumMethod(); i++ {
		if name := kind.Method(i).Name; !r.called[name] {
			missing = append(missing, name)
		}
	}
	return missing
}

func main() {
	kp.RetryMax, iam.RetryMax = 0, 0 // a 500 is an outcome, not something to try again
	url, instance := os.Args[1], os.Args[2]
	api := func(key string) *kp.Client {
		config := kp.ClientConfig{BaseURL: url, TokenURL: url + "/oidc/token", APIKey: key, InstanceID: instance}
		return must(kp.New(config, nil))
	}
	r := &run{url: url, outcomes: map[string]any{}, called: map[string]bool{}}
	first, second := api(os.Getenv("FIRST_API_KEY")), api(os.Getenv("SECOND_API_KEY"))
	creating(r, first)
	wrapping(r, first)
	listing(r, first)
	arranging(r, first)
	importing(r, first)
	keyPolicies(r, first)
	kmip(r, first, os.Args[3])
	instancePolicies(r, first)
	// The clock moves from here on, and tokens live an hour: each part has clients of its own.
	states(r, first, second)
	r.outcomes["uncalled"] = r.uncalled(first)
	if err := json.NewEncoder(os.Stdout).Encode(r.outcomes); err != nil {
		log.Fatal(err)
	}
}
