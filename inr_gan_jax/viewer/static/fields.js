// Whole numbers that are typed: what a field holds, or a sentence that says why it cannot be used.

/**
 * @param name what the field is called on the page.
 * @param field an <input type="number"> with a `max`.
 * @param isOptional whether the field may be empty.
 * @returns {value, mistake}: value is null for an empty field and for a mistake; mistake is "" where there is none.
 */
export function readWhole(name, field, isOptional = false) {
  // Browsers also give an empty value for what is not a number at all.
  const isEmpty = field.value === "" && !field.validity.badInput;
  if (isEmpty && isOptional) return { value: null, mistake: "" };
  const value = field.valueAsNumber;
  const most = Number(field.max);
  if (Number.isInteger(value) && value >= 0 && value <= most) return { value, mistake: "" };
  const got = isEmpty ? "empty" : field.value === "" ? "not a number" : field.value;
  return { value: null, mistake: `${name} is ${got}, expected a whole number from 0 to ${most}.` };
}
