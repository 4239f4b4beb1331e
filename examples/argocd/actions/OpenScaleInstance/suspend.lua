-- Nothing of the instance is written until it is resumed; root keys are looked at, and refusals hold, as ever.
obj.spec.suspend = true
return obj
