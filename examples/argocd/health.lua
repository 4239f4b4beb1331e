-- Health of the three kinds of openscale.byok.dev for Argo CD. Their status follows kstatus; the order here is kstatus' own.
-- It uses no library, as Argo CD offers none to scripts of argocd-cm.
local health = { status = "Progressing", message = "Waiting for the operator" }
local status = obj.status or {}

local found = {}
for _, condition in ipairs(status.conditions or {}) do
  found[condition.type] = condition
end
local ready = found.Ready

if ready ~= nil and ready.message ~= nil then
  health.message = ready.reason .. ": " .. ready.message
end
if obj.metadata.deletionTimestamp ~= nil then
  return health
end
if status.observedGeneration ~= obj.metadata.generation or ready == nil then
  health.message = "Waiting for the operator to see the last change"
  return health
end

if ready.reason == "Suspended" then
  health.status = "Suspended"
elseif found.Stalled ~= nil and found.Stalled.status == "True" then
  health.status = "Degraded"
elseif ready.status == "True" then
  health.status = "Healthy"
end
return health
