package main

import (
	"time"

	kp "github.com/IBM/keyprotect-go-client"
)

func listing(r *run, c *kp.Client) {
	for _, name := range []string{"list-a", "list-b"} {
		must(c.CreateRootKey(ctx, name, nil))
	}
	must(c.CreateStandardKey(ctx, "list-standard", nil))
	list := func(what string, options kp.ListKeysOptions) {
		options.Sort = kp.GetKeySortStr(kp.WithExtractable(), kp.WithID(), kp.WithCreationDate(), kp.WithLastUpdateDate(),
			kp.WithExpirationDate(), kp.WithDeletionDate(), kp.WithImported(), kp.WithLastRotateDate(), kp.WithState())
		r.step("ListKeys "+what, func() (any, error) {
			keys, err := c.ListKeys(ctx, &options)
			if err != nil {
				return nil, err
			}
			return len(keys.Keys), nil
		})
	}
	search := func(opts ...kp.SearchOpts) *string { return must(kp.GetKeySearchQuery(pointer("list-"), opts...)) }
	list("by search, which ends in a comma", kp.ListKeysOptions{Search: search()})
	list("by search in names", kp.ListKeysOptions{Search: search(kp.AddKeyNameScope())})
	list("by search in aliases", kp.ListKeysOptions{Search: search(kp.AddAliasScope())})
	list("by exact search", kp.ListKeysOptions{Search: must(kp.GetKeySearchQuery(pointer("list-a"), kp.WithExactMatch()))})
	list("by escaped search", kp.ListKeysOptions{Search: search(kp.AddEscape())})
	soon, hour := time.Now().Add(time.Minute), time.Now().Add(-time.Hour)
	filter := func(what string, built *kp.FilterQueryBuilder) {
		list(what, kp.ListKeysOptions{Search: search(), Filter: pointer(built.Build())})
	}
	build := kp.GetFilterQueryBuilder
	filter("created within the hour", build().CreationDate().GreaterThanOrEqual(hour).CreationDate().LessThan(soon))
	filter("created before the hour and after it", build().CreationDate().LessThan(hour).CreationDate().GreaterThan(hour))
	filter("never rotated", build().LastRotationDate().None())
	filter("rotated before now", build().LastRotationDate().LessThanOrEqual(soon))
	filter("expiring before now", build().ExpirationDate().LessThan(soon))
	filter("standard and active", build().Extractable(true).State([]kp.KeyState{kp.Active, kp.Suspended}))
	filter("updated at one moment", build().LastUpdateDate().Equal(hour).DeletionDate().None())
	list("by state and kind, a page", kp.ListKeysOptions{Search: search(), State: []kp.KeyState{kp.Active},
		Extractable: pointer(false), Limit: pointer(uint32(1)), Offset: pointer(uint32(1))})
	list("by a date that is none", kp.ListKeysOptions{Filter: pointer(`creationDate="2022-03-16"`)})
	r.step("ListKeys without options", func() (any, error) {
		_, err := c.ListKeys(ctx, nil)
		return "done", err
	})
	r.step("GetKeys", func() (any, error) {
		keys, err := c.GetKeys(ctx, 2, 1)
		return len(keys.Keys), err
	})
	r.step("ListRegistrations", func() (any, error) {
		all, err := c.ListRegistrations(ctx, "", "crn:v1:bluemix:public:cloud-object-storage:global:a/1::bucket:*")
		return len(all.Registrations), err
	})
}

func arranging(r *run, c *kp.Client) {
	key := must(c.CreateRootKey(ctx, "arranged", nil)).ID
	r.step("CreateKeyAlias", func() (any, error) {
		alias, err := c.CreateKeyAlias(ctx, "an-alias", key)
		return alias.Alias, err
	})
	r.step("GetKey by its alias", func() (any, error) {
		found, err := c.GetKey(ctx, "an-alias")
		return found.ID == key, err
	})
	r.do("DeleteKeyAlias", func() error { return c.DeleteKeyAlias(ctx, "an-alias", key) })
	r.do("CreateKeyRing", func() error { return c.CreateKeyRing(ctx, "a-ring") })
	r.step("SetKeyRing, a field called KeyRingID", func() (any, error) {
		moved, err := c.SetKeyRing(ctx, key, "a-ring")
		if err != nil {
			return nil, err
		}
		return moved.KeyRingID, nil
	})
	r.called["SetKeyRing"] = true
	r.do("DeleteKeyRing that holds a key", func() error { return c.DeleteKeyRing(ctx, "a-ring", kp.WithForce(false)) })
	must(c.SetKeyRing(ctx, key, "default"))
	r.do("DeleteKeyRing", func() error { return c.DeleteKeyRing(ctx, "a-ring", kp.WithForce(true)) })
	r.step("GetKeyRings", func() (any, error) {
		rings, err := c.GetKeyRings(ctx)
		return len(rings.KeyRings), err
	})
}

func importing(r *run, c *kp.Client) {
	r.step("CreateImportToken", func() (any, error) {
		token, err := c.CreateImportToken(ctx, 600, 5)
		return token.RemainingRetrievals, err
	})
	r.step("CreateImportToken with what the service prefers", func() (any, error) {
		token, err := c.CreateImportToken(ctx, 0, 0)
		return token.MaxAllowedRetrievals, err
	})
	r.step("GetImportTokenTransportKey, and what it is for", func() (any, error) {
		token, err := c.GetImportTokenTransportKey(ctx)
		if err != nil {
			return nil, err
		}
		nonce, iv, err := kp.EncryptNonce(material, token.Nonce, "")
		if err != nil {
			return nil, err
		}
		key, err := c.CreateImportedRootKey(ctx, "by-token", nil, must(kp.EncryptKey(material, token.Payload)), nonce, iv)
		if err != nil {
			return nil, err
		}
		payload := kp.NewKeyPayload(must(kp.EncryptKey(material, token.Payload)), nonce, iv).WithRSA256()
		return key.Imported, c.RotateV2(ctx, key.ID, &payload)
	})
	r.called["GetImportTokenTransportKey"] = true
}
