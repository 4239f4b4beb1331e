package main

import (
	"fmt"

	kp "github.com/IBM/keyprotect-go-client"
)

// months is how a rotation policy reads.
func months(policy *kp.Policy, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return fmt.Sprint(*policy.Rotation.Enabled, " ", policy.Rotation.Interval), nil
}

func keyPolicies(r *run, c *kp.Client) {
	key := must(c.CreateRootKey(ctx, "policies", nil)).ID
	r.step("EnableRotationPolicy of which no months are known", func() (any, error) { return months(c.EnableRotationPolicy(ctx, key)) })
	r.step("SetPolicy", func() (any, error) { return months(c.SetPolicy(ctx, key, kp.ReturnRepresentation, 5)) })
	r.step("SetRotationPolicy", func() (any, error) { return months(c.SetRotationPolicy(ctx, key, 3, false)) })
	r.step("SetRotationPolicy of no months", func() (any, error) { return months(c.SetRotationPolicy(ctx, key, 0)) })
	r.step("EnableRotationPolicy", func() (any, error) { return months(c.EnableRotationPolicy(ctx, key)) })
	r.step("GetRotationPolicy", func() (any, error) { return months(c.GetRotationPolicy(ctx, key)) })
	r.step("DisableRotationPolicy", func() (any, error) { return months(c.DisableRotationPolicy(ctx, key)) })
	r.step("GetPolicy", func() (any, error) { return months(c.GetPolicy(ctx, key)) })
	dual := func(policy *kp.Policy, err error) (any, error) {
		if err != nil {
			return nil, err
		}
		return *policy.DualAuth.Enabled, nil
	}
	r.step("SetDualAuthDeletePolicy", func() (any, error) { return dual(c.SetDualAuthDeletePolicy(ctx, key, true)) })
	r.step("GetDualAuthDeletePolicy", func() (any, error) { return dual(c.GetDualAuthDeletePolicy(ctx, key)) })
	r.step("SetPolicies", func() (any, error) {
		set, err := c.SetPolicies(ctx, key, true, 6, true, false, true)
		return len(set), err
	})
	r.step("GetPolicies", func() (any, error) {
		all, err := c.GetPolicies(ctx, key)
		return len(all), err
	})
}

func instancePolicies(r *run, c *kp.Client) {
	attributes := map[string]bool{kp.CreateRootKey: true, kp.CreateStandardKey: false, kp.ImportRootKey: true,
		kp.ImportStandardKey: true, kp.EnforceToken: false}
	r.do("SetKeyCreateImportAccessInstancePolicy", func() error {
		return c.SetKeyCreateImportAccessInstancePolicy(ctx, true, attributes)
	})
	r.step("CreateStandardKey where the policy forbids it", func() (any, error) {
		return kind(c.CreateStandardKey(ctx, "forbidden", nil))
	})
	r.do("SetKeyCreateImportAccessInstancePolicy, off", func() error {
		return c.SetKeyCreateImportAccessInstancePolicy(ctx, false, nil)
	})
	r.called["SetKeyCreateImportAccessInstancePolicy"] = true
	r.do("SetDualAuthInstancePolicy", func() error { return c.SetDualAuthInstancePolicy(ctx, true) })
	r.do("SetRotationInstancePolicy", func() error { return c.SetRotationInstancePolicy(ctx, true, pointer(5)) })
	r.step("CreateRootKeyWithPolicyOverrides that overrides all with none", func() (any, error) {
		key := must(c.CreateRootKeyWithPolicyOverrides(ctx, "none", nil, nil, kp.Policy{}))
		policies, err := c.GetPolicies(ctx, key.ID)
		return len(policies), err
	})
	r.step("CreateRootKey that inherits", func() (any, error) {
		return months(c.GetRotationPolicy(ctx, must(c.CreateRootKey(ctx, "inherits", nil)).ID))
	})
	r.do("SetDualAuthInstancePolicy off", func() error { return c.SetDualAuthInstancePolicy(ctx, false) })
	r.do("SetRotationInstancePolicy off", func() error { return c.SetRotationInstancePolicy(ctx, false, nil) })
	r.do("SetMetricsInstancePolicy", func() error { return c.SetMetricsInstancePolicy(ctx, true) })
	r.do("SetAllowedNetworkInstancePolicy", func() error {
		return c.SetAllowedNetworkInstancePolicy(ctx, true, "public-and-private")
	})
	r.do("SetAllowedNetworkInstancePolicy of nowhere", func() error {
		return c.SetAllowedNetworkInstancePolicy(ctx, true, "nowhere")
	})
	r.do("SetAllowedIPInstancePolicy of no address", func() error {
		return c.SetAllowedIPInstancePolicy(ctx, true, []string{"nowhere"})
	})
	r.do("SetAllowedIPInstancePolicy", func() error {
		return c.SetAllowedIPInstancePolicy(ctx, true, []string{"127.0.0.0/8", "2001:db8::/32"})
	})
	r.step("GetAllowedIPPrivateNetworkPort", func() (any, error) {
		port, err := c.GetAllowedIPPrivateNetworkPort(ctx)
		return port > 0, err
	})
	enabled := func(policy *kp.InstancePolicy, err error) (any, error) {
		if err != nil || policy == nil {
			return nil, err
		}
		return *policy.PolicyData.Enabled, nil
	}
	r.step("GetDualAuthInstancePolicy", func() (any, error) { return enabled(c.GetDualAuthInstancePolicy(ctx)) })
	r.step("GetRotationInstancePolicy", func() (any, error) { return enabled(c.GetRotationInstancePolicy(ctx)) })
	r.step("GetMetricsInstancePolicy", func() (any, error) { return enabled(c.GetMetricsInstancePolicy(ctx)) })
	r.step("GetAllowedNetworkInstancePolicy", func() (any, error) { return enabled(c.GetAllowedNetworkInstancePolicy(ctx)) })
	r.step("GetKeyCreateImportAccessInstancePolicy", func() (any, error) {
		return enabled(c.GetKeyCreateImportAccessInstancePolicy(ctx))
	})
	r.step("GetAllowedIPInstancePolicy", func() (any, error) {
		policy, err := c.GetAllowedIPInstancePolicy(ctx)
		return *policy.PolicyData.Attributes.AllowedIP, err
	})
	r.do("SetInstancePolicies", func() error {
		return c.SetInstancePolicies(ctx, kp.MultiplePolicies{
			DualAuthDelete: &kp.BasicPolicyData{Enabled: false},
			AllowedNetwork: &kp.AllowedNetworkPolicyData{Enabled: false, Network: "public-and-private"},
			AllowedIP:      &kp.AllowedIPPolicyData{Enabled: false},
			Metrics:        &kp.BasicPolicyData{Enabled: false},
			Rotation:       &kp.RotationPolicyData{Enabled: false},
			KeyCreateImportAccess: &kp.KeyCreateImportAccessInstancePolicy{Enabled: false,
				Attributes: &kp.KeyCreateImportAccessInstancePolicyAttributes{CreateRootKey: pointer(true)}},
		})
	})
	r.step("GetInstancePolicies", func() (any, error) {
		all, err := c.GetInstancePolicies(ctx)
		return len(all), err
	})
}
