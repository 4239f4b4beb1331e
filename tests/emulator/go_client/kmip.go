package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"strings"

	kp "github.com/IBM/keyprotect-go-client"
)

func kmip(r *run, c *kp.Client, pem string) {
	key := must(c.CreateKeyWithAliases(ctx, "kmip", nil, false, []string{"kmip-key"})).ID
	r.step("CreateKMIPAdapter for a key by its alias", func() (any, error) {
		adapter, err := c.CreateKMIPAdapter(ctx, kp.WithNativeProfile("kmip-key"), kp.WithKMIPAdapterName("an-adapter"),
			kp.WithKMIPAdapterDescription("described"))
		if err != nil {
			return nil, err
		}
		return adapter.ProfileData["crk_id"] == key, nil
	})
	r.step("CreateKMIPAdapter without a name", func() (any, error) {
		adapter, err := c.CreateKMIPAdapter(ctx, kp.WithNativeProfile(key))
		if err != nil {
			return nil, err
		}
		return "done", c.DeleteKMIPAdapter(ctx, adapter.ID)
	})
	r.step("GetKMIPAdapter", func() (any, error) {
		adapter, err := c.GetKMIPAdapter(ctx, "an-adapter")
		return adapter.Description, err
	})
	counted := &kp.ListOptions{Limit: pointer(uint32(10)), Offset: pointer(uint32(0)), TotalCount: pointer(true)}
	r.step("GetKMIPAdapters of a key", func() (any, error) {
		mine, err := c.GetKMIPAdapters(ctx, &kp.ListKmipAdaptersOptions{TotalCount: pointer(true), CrkID: &key})
		return mine.Metadata.TotalCount, err
	})
	r.step("CreateKMIPClientCertificate", func() (any, error) {
		made, err := c.CreateKMIPClientCertificate(ctx, "an-adapter", pem, kp.WithKMIPClientCertName("a-certificate"))
		return made.Name, err
	})
	r.step("CreateKMIPClientCertificate a second time", func() (any, error) {
		return c.CreateKMIPClientCertificate(ctx, "an-adapter", pem)
	})
	r.step("GetKMIPClientCertificates", func() (any, error) {
		all, err := c.GetKMIPClientCertificates(ctx, "an-adapter", counted)
		return all.Metadata.TotalCount, err
	})
	r.step("GetKMIPClientCertificate", func() (any, error) {
		found, err := c.GetKMIPClientCertificate(ctx, "an-adapter", "a-certificate")
		return found.Certificate == pem, err
	})
	object := r.object(c.Config.InstanceID)
	r.step("GetKMIPObjects", func() (any, error) {
		options := &kp.ListKmipObjectsOptions{TotalCount: pointer(true), ObjectStateFilter: &[]int32{1, 2}}
		all, err := c.GetKMIPObjects(ctx, "an-adapter", options)
		return all.Metadata.TotalCount, err
	})
	state := func() (any, error) {
		found, err := c.GetKMIPObject(ctx, "an-adapter", object)
		return []int{found.KMIPObjectType, found.ObjectState}, err
	}
	r.step("GetKMIPObject", state)
	r.do("DeleteKMIPAdapter whose object is active", func() error { return c.DeleteKMIPAdapter(ctx, "an-adapter") })
	r.do("DeleteKMIPObject that is active", func() error { return c.DeleteKMIPObject(ctx, "an-adapter", object) })
	r.do("DeleteKMIPObject by force", func() error {
		return c.DeleteKMIPObject(ctx, "an-adapter", object, kp.WithForce(true))
	})
	r.step("GetKMIPObject that is destroyed", state)
	r.step("DeleteKey with an adapter", func() (any, error) { return c.DeleteKey(ctx, key, kp.ReturnMinimal, kp.ForceOpt{Force: true}) })
	r.do("DeleteKMIPAdapter with a certificate", func() error { return c.DeleteKMIPAdapter(ctx, "an-adapter") })
	must(c.CreateKMIPAdapter(ctx, kp.WithNativeProfile(key), kp.WithKMIPAdapterName("another")))
	must(c.CreateKMIPClientCertificate(ctx, "another", pem, kp.WithKMIPClientCertName("again")))
	r.do("DeleteKMIPClientCertificate", func() error { return c.DeleteKMIPClientCertificate(ctx, "another", "again") })
}

// object makes a KMIP object, as a client of the KMIP protocol would.
func (r *run) object(instance string) string {
	body := strings.NewReader(fmt.Sprintf(`{"adapter": "an-adapter", "instance": %q}`, instance))
	answer := must(http.Post(r.url+"/emulator/kmip-objects", "application/json", body))
	defer answer.Body.Close()
	made := struct{ ID string }{}
	if err := json.NewDecoder(answer.Body).Decode(&made); err != nil || made.ID == "" {
		log.Fatal("the KMIP object: ", err, answer.Status)
	}
	return made.ID
}
