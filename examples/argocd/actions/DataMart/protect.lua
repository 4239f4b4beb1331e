-- From now on its deletion is refused. Taking that off is for Git, or for kubectl: no action does it.
obj.spec.deletionProtection = true
return obj
